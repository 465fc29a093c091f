#!/bin/sh
# sh verify.sh BAG KEY [ROOT]: checks the bag of one audit. KEY is a file with the store's public key
# (a vkey, or PEM), ROOT one with the root certificate of the time stamp authority (PEM): get both,
# and this script, from elsewhere than BAG. It ends with 0 if all is proven, 1 if not, 2 if called wrongly.
set -eu; LC_ALL=C; export LC_ALL; unset CDPATH
no() { printf 'NOT VERIFIED: %s\n' "$1" | tr -cd ' -~\n' >&2; exit 1; }
cannot() { printf 'NOT CHECKED: %s\n' "$1" >&2; exit 2; }
number() { case $1 in '' | 0?* | *[!0-9]* | ????????????????*) no "$2 is not a number";; esac; }
none() { code=0; grep -a "$@" > /dev/null || code=$?; test $code -eq 1; }
ends() { test $(($(tail -c 1 "$1" | tr -d '\n' | wc -c))) -eq 0 || no "$1: its last newline is missing"; }
plain() { tr -cd '0-9A-Za-z+/=\n' < "$1" | cmp -s - "$1" || no "$1 has characters that are not in it"; ends "$1"; }
h() { openssl dgst -sha256 -binary; }
decode() { base64 -d > "$2" 2>/dev/null <<EOF || :
$1
EOF
  test "$(base64 < "$2" | tr -d '\n')" = "$1" || no "$3 is not base64"; }
test $# -ge 2 && test -d "$1" && test -r "$2" && test ! -d "$2" || { echo "usage: sh verify.sh BAG KEY [ROOT]" >&2; exit 2; }
for tool in awk base64 cat cmp cp date dd find grep head mktemp mv od openssl rm sed sha256sum sort tail tr uniq wc; do
  command -v $tool > /dev/null || cannot "there is no command $tool"
done
case $(openssl version) in 'OpenSSL '[3-9].* | 'OpenSSL '[1-9][0-9].*) ;; *) cannot "openssl must be OpenSSL 3 or later";; esac
T=$(mktemp -d) || exit 2; T=$(cd -- "$T" && pwd) || exit 2; trap 'rm -rf "$T"' EXIT
cat < "$2" > "$T/key" || exit 2; if test $# -gt 2; then cat < "$3" > "$T/root" || exit 2; fi
case $1 in /*) cd "$1";; *) cd "./$1";; esac
P=data/proof

find . ! -type f ! -type d > "$T/odd" || cannot "its folders cannot be read"
test ! -s "$T/odd" || no "the bag holds what is neither a file nor a folder"
find . -name '*[!A-Za-z0-9._-]*' > "$T/odd" || cannot "its folders cannot be read"
test ! -s "$T/odd" || no "missing, or in no manifest: not a name that is in a bag: $(head -n 1 "$T/odd")"
find . -type f > "$T/read"; while read -r f; do test -r "$f" || cannot "a file cannot be read: $f"; done < "$T/read"
find . -type f ! -path ./tagmanifest-sha256.txt | sed 's|^\./||' | sort > "$T/here"
for f in manifest-sha256.txt tagmanifest-sha256.txt; do test -f $f || no "a manifest is missing"; ends $f; done
none -v '^[0-9a-f]\{64\}  data/[A-Za-z0-9._/-]*$' manifest-sha256.txt || no "a manifest has a line that is none of it"
none -v '^[0-9a-f]\{64\}  [A-Za-z0-9][A-Za-z0-9._-]*$' tagmanifest-sha256.txt || no "a manifest has a line that is none of it"
cat manifest-sha256.txt tagmanifest-sha256.txt > "$T/sums"
sed 's/^[^ ]*  //' "$T/sums" | sort > "$T/listed"; uniq -d "$T/listed" > "$T/twice"
test ! -s "$T/twice" || no "in the manifests twice: $(head -n 1 "$T/twice")"
cmp -s "$T/here" "$T/listed" || no "missing, or in no manifest: $(cat "$T/here" "$T/listed" | sort | uniq -u | head -n 1)"
files='data/(audit\.jsonl|report\.html|log/(events|lengths)|proof/(audit-id|checkpoint|inclusion|index|log\.vkey)|screenshots/.*)|bagit\.txt|bag-info\.txt|README\.txt|verify\.sh|manifest-sha256\.txt|checkpoint\.tsr|tsa\.pem'
none -Evx "$files" "$T/here" || no "not a file that a bag has: $(grep -Evx "$files" "$T/here" | head -n 1)"
for f in $P/audit-id $P/checkpoint $P/inclusion $P/index data/log/events data/log/lengths; do test -f $f || no "missing: $f"; done
sha256sum -c "$T/sums" > "$T/said" 2>/dev/null || no "not as its manifest has it: $(sed -n 's/: FAILED.*//p' "$T/said" | head -n 1)"
echo "files: $(($(wc -l < "$T/sums"))), all as the manifests have them"

ends $P/checkpoint; sed '/^$/,$d' $P/checkpoint > "$T/text"; sed '1,/^$/d' $P/checkpoint > "$T/signatures"
origin=$(sed -n 1p "$T/text"); size=$(sed -n 2p "$T/text"); number "$size" "the checkpoint's size"
none -v '^— [!-~][!-~]* [A-Za-z0-9+/][A-Za-z0-9+/]*=*$' "$T/signatures" || no "the checkpoint has a line that is no signature"
test $(($(wc -l < "$T/signatures"))) -le 100 || no "the checkpoint has more than 100 signatures"
vkey= name=
if grep -q 'PRIVATE KEY-----' "$T/key"; then
  openssl pkey -in "$T/key" -passin pass: -pubout -outform DER -out "$T/der" || no "the key is none"
  name=$(sed -n 's/^Key name: //p' "$T/key")
elif grep -q 'BEGIN PUBLIC KEY' "$T/key"; then openssl pkey -pubin -in "$T/key" -outform DER -out "$T/der" || no "the key is none"
else
  vkey=$(tr '\011\013\014\015 \000' '\n\n\n\n\n!' < "$T/key" | sed '/^$/d')
  case $vkey in *'
'*) no "the key is none";; *+*+*) ;; *) no "the key is none";; esac
  name=${vkey%%+*}; test "$name" = "$origin" || no "the checkpoint is of $origin, and not of the key"
  { printf '\060\052\060\005\006\003\053\145\160\003\041\000'; printf '%s\n' "${vkey#*+*+}" | base64 -d 2>/dev/null | tail -c 32; } > "$T/der"
fi
test "${name:-$origin}" = "$origin" || no "the checkpoint is of $origin, and not of the key"
{ printf '%s\n\001' "$origin"; tail -c 32 "$T/der"; } | h | head -c 4 > "$T/id"; signed=
id=$(od -An -tx1 "$T/id" | tr -d ' \n'); own=$origin+$id+$({ printf '\001'; tail -c 32 "$T/der"; } | base64)
test "${vkey:-$own}" = "$own" || no "the key is not one: its name, its number and its key are not of one another"
while read -r dash name coded; do
  decode "$coded" "$T/s" "a signature of the checkpoint"; test "$name" = "$origin" || continue
  head -c 4 "$T/s" > "$T/i"; tail -c +5 "$T/s" > "$T/sig"
  cmp -s "$T/i" "$T/id" || continue
  openssl pkeyutl -verify -pubin -keyform DER -inkey "$T/der" -rawin -in "$T/text" -sigfile "$T/sig" > /dev/null 2>&1 || no "the checkpoint is not what was signed"
  signed=yes
done < "$T/signatures"
test -n "$signed" || no "the checkpoint is not signed by the given key"
if test -e $P/log.vkey; then
  printf '%s\n' "$own" | cmp -s - $P/log.vkey || no "$P/log.vkey is not the key that signed the checkpoint"
fi
printf 'checkpoint: %s events of %s, signed by the given key\n' "$size" "$origin"

for f in $P/inclusion $P/index data/log/lengths; do plain $f; done
audit=$(tr -cd 'A-Za-z0-9._-' < $P/audit-id); printf %s "$audit" | cmp -s - $P/audit-id || no "$P/audit-id is not the id of an audit"
case $audit in '' | .* | ?????????????????*) no "$P/audit-id is not the id of an audit";; esac
{ tr '\000\n' '\n\001' < data/log/events; echo; } > "$T/parts"  # an event is NUL, type, NUL, time, NUL, text
awk 'NR == 1 && length($0) { bad = 1 } NR % 3 == 2 { kind = length($0) }
  NR % 3 == 0 { time = length($0); if ($0 !~ /^([0-9][0-9T :.+Z-]*)?$/) bad = 1 }
  NR % 3 == 1 && NR > 1 { size = 3 + kind + time + length($0); printf "%d\n", size; if (size > 1000000000) bad = 1 }
  END { exit (bad || NR < 4 || NR % 3 != 1) }' "$T/parts" > "$T/lengths" || no "data/log/events has not the form of events"
cmp -s "$T/lengths" data/log/lengths || no "data/log/lengths does not fit data/log/events"
cp $P/audit-id "$T/d"; exec 3< data/log/events; n=0
while read -r long; do
  { cat "$T/d"; dd bs="$long" count=1 <&3 2>/dev/null; } | h > "$T/e"; mv "$T/e" "$T/d"; n=$((n + 1))
done < "$T/lengths"
{ printf '\000'; cat "$T/d"; } | h > "$T/r"
test $(($(wc -l < $P/index))) -eq 1 || no "$P/index is not a number"
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
if test -e bag-info.txt; then
  printf 'External-Identifier: %s\n' "$audit" > "$T/name"
  grep -ai '^external-identifier' bag-info.txt | cmp -s - "$T/name" || no "bag-info.txt names another audit than $P/audit-id"
fi
printf 'log: %s events of the audit %s, all in the checkpoint'"'"'s tree, in their order\n' "$n" "$audit"

id=$(printf '%s\n' "$audit" | sed 's/\./[.]/g'); text='"([^"\\]|\\.)*"'; file="$id/[^\"\\[:cntrl:]]*"
image='"media_type":"image/[a-z]+","sha256":"[0-9a-f]{64}"'
tail -n 3 "$T/parts" > "$T/last"; : > "$T/sealed"
if head -n 1 "$T/last" | grep -qx audit_sealed; then
  tail -n 1 "$T/last" > "$T/sealed"
  head -c 500 "$T/sealed" | grep -aEq "^[{]\"type\":\"audit_sealed\",\"version\":[0-9]+,\"seal\":(\"[0-9a-f]{64}\"|null),\"sealed_events\":([0-9]+|null),\"audit\":[{]\"id\":\"$id\"," || no "the last event of data/log/events does not state the rows of this audit"
  echo "rows: stated by the last event of the log"
else echo "rows: not stated by the last event of the log"; fi

awk 'NR % 3 == 2 { kind = $0 } NR % 3 == 1 && NR > 1 && kind == "screenshot"' "$T/parts" > "$T/shots"
{ grep -aEo "^[{]($text:($text|[0-9.eE+-]+|true|false|null),)*\"data\":[{]\"file\":\"$file\",\"size\":[0-9]+,$image" "$T/shots" | sed 's|^.*"data":{"file":|"file":|'
  grep -aEo "\"file_path\":\"$file\",\"label\":$text,\"index_num\":[0-9]+,\"file_size_bytes\":[0-9]+,$image" "$T/sealed" || :
} | sed 's|^"file[^:]*:"\([^"]*\)".*"sha256":"\([0-9a-f]*\)"$|\2  data/screenshots/\1|' | sort -u > "$T/told"
grep -a '  data/screenshots/' "$T/sums" | sort -u > "$T/images" || :
cat "$T/told" "$T/told" "$T/images" | sort | uniq -u > "$T/more"
test ! -s "$T/more" || no "an image of which the log does not tell: $(sed -n '1s/^[^ ]*  //p' "$T/more")"
echo "images: $(($(wc -l < "$T/images"))), as the log tells of them"
cat "$T/told" "$T/images" | sort | uniq -u | sed 's/^[^ ]*  data.screenshots./image that is not in the bag: /' | sort | tr -cd ' -~\n'

if test ! -e checkpoint.tsr; then echo "time: the checkpoint has no time stamp"
elif test ! -e "$T/root"; then echo "time: not checked, for no root certificate was given"
else
  # Of the signed token alone: texts of the reply around it are shown as they are, and signed by nobody.
  openssl ts -reply -in checkpoint.tsr -token_out -out "$T/token" 2>/dev/null || no "checkpoint.tsr is no time stamp"
  openssl ts -reply -token_in -in "$T/token" -text -token_out 2>/dev/null | sed -n 's/^Time stamp: //p' > "$T/when"
  test $(($(wc -l < "$T/when"))) -eq 1 || no "checkpoint.tsr is no time stamp"
  read -r month day clock year _ < "$T/when" || no "checkpoint.tsr is no time stamp"
  m=JanFebMarAprMayJunJulAugSepOctNovDec; m=${m%%"$month"*}; m=$((${#m} / 3 + 1)); when="$year-$m-$day ${clock%.*}"
  set -- -data $P/checkpoint -in checkpoint.tsr -CAfile "$T/root" -attime "$(date -u -d "$when" +%s)"; if test -e tsa.pem; then set -- "$@" -untrusted tsa.pem; fi
  openssl ts -verify "$@" > /dev/null 2>&1 || no "checkpoint.tsr is not a time stamp of the checkpoint that leads to the given root certificate"
  echo "time: the checkpoint existed at $(date -u -d "$when" '+%Y-%m-%d %H:%M:%S') UTC"
fi
echo "not proven: all but data/log, data/proof and data/screenshots, such as data/report.html, which is for reading; and that no later events exist"
