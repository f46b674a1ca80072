#!/usr/bin/env bash
# msgspec with strict=False reads "1e3" as an int and "tRUE" as a bool, and refuses "+5", ".5" and "007".
#
# Versions: msgspec 0.22.0.
# Expected: strict=False converts text with int(), float() and the like: "+5", " 5" and "007" are taken, "1e3" is no
#   int.
# Seen: the text is read by JSON's grammar of numbers, not Python's: no plus sign, no white space, no leading zeros,
#   no bare point. Whatever JSON number is whole and fits 64 bits is an int, "5.0", "1e3" and "1e+15" as well, but
#   "1.84467440737096e+19" is not, though "18446744073709551616" is. As a float "-0" loses its sign. "inf" and "nan",
#   which JSON does not have, are taken by float, while "1e400" is out of range for all, bool among them. true and
#   false may have any mixture of cases.
. "$(dirname "$0")/lib/finding.bash"
with_python msgspec==0.22.0

"$python" - >"$scratch/out" <<'PYTHON'
import msgspec
def lax(text, kind):
    try:
        return repr(msgspec.convert(text, kind, strict=False))
    except msgspec.ValidationError as error:
        return "no" if "got `str`" in str(error) else str(error)
def own(text, kind):
    try:
        return repr(kind(text))
    except ValueError:
        return "no"
print("text | msgspec int | int() | msgspec float | float() | msgspec bool")
TEXTS = (
    "5", "5.0", "5.5", "1e3", "1e+15", "1.84467440737096e+19", "1e22", "1e400", "-0", "-0.0", "+5", " 5", "5\n", ".5",
    "5.", "007", "1_000", "inf", "Infinity", "nan", "1", "0", "tRUE", "", "18446744073709551616",
)
for text in TEXTS:
    row = (lax(text, int), own(text, int), lax(text, float), own(text, float), lax(text, bool))
    print(repr(text), *row, sep=" | ")
PYTHON
seen "$scratch/out" <<'RECORDED'
text | msgspec int | int() | msgspec float | float() | msgspec bool
'5' | 5 | 5 | 5.0 | 5.0 | no
'5.0' | 5 | no | 5.0 | 5.0 | no
'5.5' | no | no | 5.5 | 5.5 | no
'1e3' | 1000 | no | 1000.0 | 1000.0 | no
'1e+15' | 1000000000000000 | no | 1000000000000000.0 | 1000000000000000.0 | no
'1.84467440737096e+19' | no | no | 1.84467440737096e+19 | 1.84467440737096e+19 | no
'1e22' | no | no | 1e+22 | 1e+22 | no
'1e400' | Number out of range | no | Number out of range | inf | Number out of range
'-0' | 0 | 0 | 0.0 | -0.0 | False
'-0.0' | 0 | no | -0.0 | -0.0 | no
'+5' | no | 5 | no | 5.0 | no
' 5' | no | 5 | no | 5.0 | no
'5\n' | no | 5 | no | 5.0 | no
'.5' | no | no | no | 0.5 | no
'5.' | no | no | no | 5.0 | no
'007' | no | 7 | no | 7.0 | no
'1_000' | no | 1000 | no | 1000.0 | no
'inf' | no | no | inf | inf | no
'Infinity' | no | no | inf | inf | no
'nan' | no | no | nan | nan | no
'1' | 1 | 1 | 1.0 | 1.0 | True
'0' | 0 | 0 | 0.0 | 0.0 | False
'tRUE' | no | no | no | no | True
'' | no | no | no | no | no
'18446744073709551616' | 18446744073709551616 | 18446744073709551616 | 1.8446744073709552e+19 | 1.8446744073709552e+19 | no
RECORDED
