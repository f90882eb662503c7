"""Values that no field of a configuration may carry into it, and a reader that finds what they would add."""

import re

HOSTILE = [
    "", " ", ";", "}", "{", "#", "a;", "a; return 200", "a}", "a{", "a#b", "a b", "a\tb", "a\nb", "a\n", "\na", "a\r\nb", "a\0b", "a\x1bb",
    "a\x85b", "a\u2028b", "a'b", 'a"b', "a\\", "a\\;", "$host", "a$b", "${x}", "a`b", "a|b", "a&b", "a<b", "a>b", "a(b", "a)b", "a[b", "a]b",
    "a*b", "a?b", "a^b", "a%3bb", "~a b", "~^(.*)$", "= /x/", "^~ /x/", "/x/;", "/x/ { return 200; } location /y/", "/www; lua", "/www\n}",
    "../x", "/../x", "/x/../y/", "/./x/", "/.git/", "//x/", "/x//y/", "unix:/tmp/x", "0", "-1", "65536", "80 default_server", "127.0.0.1;",
    "[::1]", "::1%lo", "999.1.1.1", "1.2.3", "é.example", "\u202ea", "a" * 3000, "/" + "a" * 3000 + "/", "_", "-x", "x-", ".x", "x..y", "*.x",
]  # fmt: skip


def directives(text: str) -> list[str]:
    """Read nginx syntax by its own rules and return every directive's name, with the depth it stands at."""
    found, words, depth = [], 0, 0
    for token in re.finditer(r'#[^\n]*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[;{}]|(?:\\.|[^\s;{}])+', text):
        word = token.group()
        if word.startswith("#") and words == 0:
            continue
        if word in ";{}":
            depth += {";": 0, "{": 1, "}": -1}[word]
            words = 0
        else:
            if words == 0:
                found.append(f"{depth} {word}")
            words += 1
    assert depth == 0
    return found
