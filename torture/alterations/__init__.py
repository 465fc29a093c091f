"""Changes that another program can make to a store's file and images, by the thousand.

`cells`, `rows`, `images` and `parts` make them, from what the file itself says that it has;
`judging` makes one in a copy of a store (`specimens`) and looks at what the store then does;
`expected` lists the changes that `verify` does not name, each with its reason.
"""
