# Lines "TYPE PATH VALUE" into one JSON object. TYPE is s (string), n (number or null) or b (true, false or null); PATH is
# like disks.0.name, a number being an index. Lines of one object stand together.
function comma() { if (!first[depth]) printf ","; first[depth] = 0 }
function close_to(level) { while (depth > level) { printf(array[depth] ? "]" : "}"); depth-- } }
# awks differ in what a backslash means to gsub and split.
function replace(text, char, with,    at, done) {
    while (at = index(text, char)) { done = done substr(text, 1, at - 1) with; text = substr(text, at + 1) }
    return done text
}
function quote(text) {
    gsub(/[[:cntrl:]]/, "", text)
    return "\"" replace(replace(substr(text, 1, 400), "\\", "\\\\"), "\"", "\\\"") "\""
}
BEGIN {
    printf "{"; depth = 0; first[0] = 1; array[0] = 0
    # Boards whose maker filled nothing in.
    count = split("not specified|not present|not applicable|none|unknown|default string|0|to be filled by o.e.m." \
        "|to be filled by oem|system product name|system manufacturer|system serial number", word, "|")
    for (i = 1; i <= count; i++) blank[word[i]] = 1
}
{
    type = $1; count = split($2, part, ".")
    value = $0; sub(/^[^ ]+ [^ ]+ ?/, "", value); sub(/^ +/, "", value); sub(/ +$/, "", value)
    if (type == "s" && (value == "" || tolower(value) in blank)) next
    if (type == "n" && value !~ /^[0-9]+$/) next
    if (type == "b" && value !~ /^(true|false|null)$/) next
    same = 0
    while (same < count - 1 && same < depth && part[same + 1] == key[same + 1]) same++
    close_to(same)
    for (i = depth + 1; i < count; i++) {
        comma()
        if (!array[depth]) printf "\"%s\":", part[i]
        list = part[i + 1] ~ /^[0-9]+$/
        printf(list ? "[" : "{")
        depth++; key[depth] = part[i]; array[depth] = list; first[depth] = 1
    }
    comma()
    if (!array[depth]) printf "\"%s\":", part[count]
    printf "%s", type == "s" ? quote(value) : value
}
END { close_to(0); print "}" }
