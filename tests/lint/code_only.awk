# SPDX-License-Identifier: MIT
#
# C without comments and without the insides of strings, as
# FILE:LINE:TEXT; the lines keep their numbers.
FNR == 1 { in_comment = 0 }
{
    text = $0
    code = ""
    while (text != "") {
        if (in_comment) {
            end = index(text, "*/")
            text = end ? substr(text, end + 2) : ""
            in_comment = !end
        } else if (match(text, /^"([^"\\]|\\.)*"/)) {
            code = code "\"\""
            text = substr(text, RLENGTH + 1)
        } else if (match(text, /^'([^'\\]|\\.)+'/)) {
            code = code "' '"
            text = substr(text, RLENGTH + 1)
        } else if (substr(text, 1, 2) == "/*") {
            in_comment = 1
            text = substr(text, 3)
        } else if (substr(text, 1, 2) == "//") {
            text = ""
        } else if (match(text, /^[^"'\/]+/)) {
            code = code substr(text, 1, RLENGTH)
            text = substr(text, RLENGTH + 1)
        } else {
            code = code substr(text, 1, 1)
            text = substr(text, 2)
        }
    }
    printf "%s:%d:%s\n", FILENAME, FNR, code
}
