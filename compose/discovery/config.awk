# The subset of cloud-config that the discovery OS reads, as rackctl writes it (block style): hostname,
# ssh_authorized_keys, write_files (path, permissions, owner, encoding, content) and runcmd. Everything else is skipped.
# Writes into the folder `out`: hostname, keys, file.N.{path,permissions,owner,encoding,content}, command.N.
function indent_of(line) { match(line, /^ */); return RLENGTH }
function put(name, text) { printf "%s", text > (out "/" name); close(out "/" name) }
# A scalar without its quotes. In double quotes rackctl writes \n, \t, \r, \", \\, \e, \0, \xHH and \uHHHH.
function scalar(text,    inner, at, char, made, code) {
    if (text ~ /^'.*'$/) { inner = substr(text, 2, length(text) - 2); gsub(/''/, "'", inner); return inner }
    if (text !~ /^".*"$/) return text
    inner = substr(text, 2, length(text) - 2); made = ""
    for (at = 1; at <= length(inner); at++) {
        char = substr(inner, at, 1)
        if (char != "\\") { made = made char; continue }
        at++; char = substr(inner, at, 1)
        if (char == "n") made = made "\n"
        else if (char == "t") made = made "\t"
        else if (char == "r") made = made "\r"
        else if (char == "e") made = made "\033"
        else if (char == "x") { made = made sprintf("%c", hex(substr(inner, at + 1, 2))); at += 2 }
        else made = made char
    }
    return made
}
function hex(text,    at, value) {
    value = 0
    for (at = 1; at <= length(text); at++) value = value * 16 + index("0123456789abcdef", tolower(substr(text, at, 1))) - 1
    return value
}
function start_block(name, header, parent) {
    block = name; body = ""; blanks = ""; lines = 0; depth = -1; above = parent
    chomp = header ~ /-/ ? "-" : header ~ /\+/ ? "+" : ""
    if (match(header, /[1-9]/)) depth = parent + substr(header, RSTART, 1)
}
function end_block() {
    if (block == "") return
    if (chomp == "-") sub(/\n$/, "", body)
    if (chomp == "+") body = body blanks
    put(block, body); block = ""
}
function value(name, text, parent) {
    if (text ~ /^\|[0-9+-]*$/) start_block(name, text, parent)
    else put(name, scalar(text))
}
block != "" {
    if ($0 ~ /^ *$/ && (depth < 0 || indent_of($0) <= depth)) { blanks = blanks "\n"; next }
    if (depth < 0 && indent_of($0) > above) depth = indent_of($0)
    if (depth >= 0 && indent_of($0) >= depth) { body = body blanks substr($0, depth + 1) "\n"; blanks = ""; next }
    end_block()
}
/^[^ #-]/ {
    section = $0; sub(/:.*/, "", section)
    if (section == "hostname") { text = $0; sub(/^hostname: */, "", text); put("hostname", scalar(text) "\n") }
    next
}
section == "ssh_authorized_keys" && /^ *- / { text = $0; sub(/^ *- /, "", text); keys = keys scalar(text) "\n"; next }
section == "runcmd" && /^- - / { text = $0; sub(/^- - /, "", text); command++; words[command] = quoted(scalar(text)); next }
section == "runcmd" && /^  - / { text = $0; sub(/^  - /, "", text); words[command] = words[command] " " quoted(scalar(text)); next }
section == "runcmd" && /^- / {
    text = $0; sub(/^- /, "", text); command++
    if (text ~ /^\|[0-9+-]*$/) start_block("command." command, text, 0); else words[command] = scalar(text)
    next
}
section == "write_files" && /^- / { file++; sub(/^- /, "  ") }
section == "write_files" && /^  [a-z]+:/ {
    key = $0; sub(/^ */, "", key); sub(/:.*/, "", key)
    text = $0; sub(/^  [a-z]+: */, "", text)
    value("file." file "." key, text, 2)
}
function quoted(word) { gsub(/'/, "'\\''", word); return "'" word "'" }
END {
    end_block()
    if (keys != "") put("keys", keys)
    for (number in words) put("command." number, words[number])
}
