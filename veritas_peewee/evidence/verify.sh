#!/bin/sh
# sh verify.sh BAG KEY [ROOT]: checks the bag of one audit. KEY is a file with the store's public key
# (a vkey, or PEM), ROOT one with the root certificate of the time stamp authority (PEM): get both,
# and this script, from elsewhere than BAG. It ends with 0 if all is proven, 1 if not, 2 if called wrongly.
set -eu; LC_ALL=C; export LC_ALL
no() { printf 'NOT VERIFIED: %s\n' "$1" >&2; exit 1; }
number() { case $1 in '' | 0?* | *[!0-9]* | ????????????????*) no "$2 is not a number";; esac; }
h() { openssl dgst -sha256 -binary; }
decode() { base64 -d > "$2" 2>/dev/null <<EOF || :
$1
EOF
  test "$(base64 < "$2" | tr -d '\n')" = "$1" || no "$3 is not base64"; }
test $# -ge 2 && test -d "$1" && test -r "$2" || { echo "usage: sh verify.sh BAG KEY [ROOT]" >&2; exit 2; }
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
cat "$2" > "$T/key"; if test $# -gt 2; then cat "$3" > "$T/root" || exit 2; fi
cd "$1"; P=data/proof

test -z "$(find . ! -type f ! -type d)" || no "the bag holds what is neither a file nor a folder"
find . -type f ! -path ./tagmanifest-sha256.txt | sed 's|^\./||' | sort > "$T/here"
cat manifest-sha256.txt tagmanifest-sha256.txt > "$T/sums" 2>/dev/null || no "a manifest is missing"
if grep -aqv '^[0-9a-f]\{64\}  [A-Za-z0-9][A-Za-z0-9._/-]*$' "$T/sums"; then no "a manifest has a line that is none"; fi
sed 's/^[^ ]*  //' "$T/sums" | sort > "$T/listed"
cmp -s "$T/here" "$T/listed" || no "missing, or in no manifest: $(cat "$T/here" "$T/listed" | sort | uniq -u | head -n 1 | tr -cd '[:print:]')"
odd=$(grep -Evx 'data/(audit\.jsonl|report\.html|log/(events|lengths)|proof/(audit-id|checkpoint|inclusion|index|log\.vkey)|screenshots/.*)|bagit\.txt|bag-info\.txt|README\.txt|verify\.sh|manifest-sha256\.txt|checkpoint\.tsr|tsa\.pem' "$T/here" | head -n 1)
test -z "$odd" || no "not a file that a bag has: $odd"
for f in $P/audit-id $P/checkpoint $P/inclusion $P/index data/log/events data/log/lengths; do test -f $f || no "missing: $f"; done
sha256sum -c "$T/sums" > "$T/said" 2>/dev/null || no "not as its manifest has it: $(sed -n 's/: FAILED.*//p' "$T/said" | head -n 1)"
echo "files: $(($(wc -l < "$T/sums"))), all as the manifests have them"

sed '/^$/,$d' $P/checkpoint > "$T/text"; sed '1,/^$/d' $P/checkpoint | head -n 100 > "$T/signatures"
origin=$(sed -n 1p "$T/text"); size=$(sed -n 2p "$T/text"); number "$size" "the checkpoint's size"
if grep -aqv '^— [^ ]* [A-Za-z0-9+/]*=*$' "$T/signatures"; then no "the checkpoint has a line that is no signature"; fi
if grep -q 'BEGIN PUBLIC KEY' "$T/key"; then openssl pkey -pubin -in "$T/key" -outform DER -out "$T/der" || no "the key is none"
else
  test "$(sed -n '1s/+.*//p' "$T/key")" = "$origin" || no "the checkpoint is of $origin, and not of the key"
  { printf '\060\052\060\005\006\003\053\145\160\003\041\000'; sed 's/^[^+]*+[^+]*+//' "$T/key" | base64 -d | tail -c 32; } > "$T/der"
fi
{ printf '%s\n\001' "$origin"; tail -c 32 "$T/der"; } | h | head -c 4 > "$T/id"; signed=
while read -r dash name coded; do
  decode "$coded" "$T/s" "a signature of the checkpoint"; test "$name" = "$origin" || continue
  head -c 4 "$T/s" > "$T/i"; tail -c +5 "$T/s" > "$T/sig"
  cmp -s "$T/i" "$T/id" || continue
  openssl pkeyutl -verify -pubin -keyform DER -inkey "$T/der" -rawin -in "$T/text" -sigfile "$T/sig" > /dev/null 2>&1 || no "the checkpoint is not what was signed"
  signed=yes
done < "$T/signatures"
test -n "$signed" || no "the checkpoint is not signed by the given key"
echo "checkpoint: $size events of $origin, signed by the given key"

audit=$(tr -cd '[:print:]' < $P/audit-id); left=$(($(wc -c < data/log/events))); n=0
cp $P/audit-id "$T/d"; exec 3< data/log/events
while read -r long; do
  number "$long" "a line of data/log/lengths"; left=$((left - long)); n=$((n + 1)); end=$long
  test $left -ge 0 && test "$long" -ge 3 || no "data/log/lengths does not fit data/log/events"
  { cat "$T/d"; dd bs="$long" count=1 <&3 2>/dev/null; } | h > "$T/e"; mv "$T/e" "$T/d"
done < data/log/lengths
test $left -eq 0 && test $n -gt 0 || no "data/log/lengths does not fit data/log/events"
{ printf '\000'; cat "$T/d"; } | h > "$T/r"
at=$(cat $P/index); number "$at" "$P/index"; last=$((size - 1)); test "$at" -le $last || no "$P/index is not in the checkpoint's tree"
while read -r coded; do
  test $last -gt 0 || no "$P/inclusion is too long"
  decode "$coded" "$T/p" "a line of $P/inclusion"
  if test $((at & 1)) -eq 1 || test "$at" -eq $last; then
    { printf '\001'; cat "$T/p" "$T/r"; } | h > "$T/n"
    while test $((at & 1)) -eq 0 && test "$at" -gt 0; do at=$((at >> 1)); last=$((last >> 1)); done
  else { printf '\001'; cat "$T/r" "$T/p"; } | h > "$T/n"; fi
  mv "$T/n" "$T/r"; at=$((at >> 1)); last=$((last >> 1))
done < $P/inclusion
test $last -eq 0 || no "$P/inclusion is too short"
test "$(base64 < "$T/r")" = "$(sed -n 3p "$T/text")" || no "the log of data/log, $P/audit-id and $P/inclusion do not lead to the checkpoint's root"
echo "log: $n events of the audit $audit, all in the checkpoint's tree, in their order"
case $(tail -c "$end" data/log/events | head -c 14 | tr '\000' ' ') in
  ' audit_sealed ') echo "rows: stated by the last event of the log" ;;
  *) echo "rows: not stated by the last event of the log" ;;
esac

grep -aEo '"file(_path)?":"[^"]*",("size":[0-9]+|"label":"([^"\\]|\\.)*","index_num":[0-9]+,"file_size_bytes":[0-9]+),"media_type":"image/[a-z]+","sha256":"[0-9a-f]{64}"' data/log/events | sed 's|^"file[^:]*:"\([^"]*\)".*"sha256":"\([0-9a-f]*\)"$|\2  data/screenshots/\1|' | sort -u > "$T/told"
grep -a '  data/screenshots/' "$T/sums" | sort -u > "$T/images" || :
cat "$T/told" "$T/told" "$T/images" | sort | uniq -u > "$T/more"
test ! -s "$T/more" || no "an image of which the log does not tell: $(sed -n '1s/^[^ ]*  //p' "$T/more")"
echo "images: $(($(wc -l < "$T/images"))), as the log tells of them"
cat "$T/told" "$T/images" | sort | uniq -u | sed 's/^[^ ]*  data.screenshots./image that is not in the bag: /' | tr -cd '[:print:]\n'

if test ! -e checkpoint.tsr; then echo "time: the checkpoint has no time stamp"
elif test ! -e "$T/root"; then echo "time: not checked, for no root certificate was given"
else
  openssl ts -reply -in checkpoint.tsr -text 2>/dev/null | sed -n 's/^Time stamp: //p' > "$T/when"; read -r month day clock year _ < "$T/when" || no "checkpoint.tsr is no time stamp"
  m=JanFebMarAprMayJunJulAugSepOctNovDec; m=${m%%"$month"*}; m=$((${#m} / 3 + 1)); when="$year-$m-$day ${clock%.*}"
  set -- -data $P/checkpoint -in checkpoint.tsr -CAfile "$T/root" -attime "$(date -u -d "$when" +%s)"; if test -e tsa.pem; then set -- "$@" -untrusted tsa.pem; fi
  openssl ts -verify "$@" > /dev/null 2>&1 || no "checkpoint.tsr is not a time stamp of the checkpoint that leads to the given root certificate"
  echo "time: the checkpoint existed at $(date -u -d "$when" '+%Y-%m-%d %H:%M:%S') UTC"
fi
echo "not proven: data/audit.jsonl and data/report.html, which are for reading; and that no later events exist"
