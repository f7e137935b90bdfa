"""Bodies that no JSON library would write: members twice, numbers and strings as they are seldom spelled, broken syntax, deep nesting.

A request is serialized and its text changed, so that what is broken stands inside something that would be served."""

import json
import re

# What may stand for a number, in places for whole numbers too.
NUMBERS = ["1e0", "1.0", "1.5", "2147483647", "2147483648", "-2147483649", "9223372036854775808", "1e400", "-0", "0.0", "01", "+1", ".5", "1.", "1e", "0x1", "NaN", "Infinity", "1_0", "1e2", "--1", "true", "null"]
# What may stand inside a string.
ESCAPES = [
    b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\ud83d", b"a\\ud800b", b"\\ude00\\ud83d", b"\\u0000", b"\\/", b"\\x41", b"\\u12", b"\\u00G0", b"\\", b"\t", b"\n", b"\x00", b"\x1f", b"\x7f", b"\xff", b"\xc0\xaf",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80\xa8", b"\xef\xbf\xbe", b"\\u0041", b"\\b\\f\\n\\r\\t\\\"", "é".encode(), "😀".encode(), b"\\'", b"\\a", b"\\U0041",
]
WHOLE = [
    b"", b" ", b"null", b"[]", b"{", b"}", b"{}", b"{}{}", b"{},", b"{} x", b"\"a\"", b"1", b"true", b"[{}]", b"{\"a\"}", b"{\"a\":}", b"{a:1}", b"{'a':1}", b"{\"a\":1,}", b"{,}", b"\xef\xbb\xbf{}", b"/**/{}", b"{}//", b"nul", b"truee",
    b"\x00", b"{\"TableName\":\"a\"", b"{\"TableName\" \"a\"}", b"<html>", b"{\"a\":1 \"b\":2}", b"{1:2}", b"{null:1}", b"{\"\":1}", b"\xff\xfe{\x00}\x00",
]
STRING = re.compile(rb'"[^"\\]*"')
MEMBER = re.compile(rb'"[A-Za-z#:]\w*": ("[^"\\]*"|true|false|-?\d+|\{"[SN]": "[^"\\]*"\}|\{\})')


class Raw(dict):
    """A request whose body is `text`. As a dictionary it is what it was made of."""

    def __init__(self, body, text):
        super().__init__(body)
        self.text = text
        # Whether a structure has a member twice, and null in it; known once it was read.
        self.null_twice = False

    def read(self):
        """The values that the text has, one for each way to choose among members that are there twice; none if it is no JSON."""
        doubled = []

        def members(pairs):
            last, first = dict(pairs), dict(reversed(pairs))
            if len(last) < len(pairs):
                doubled.append(last)
                self.null_twice |= any(value is None for _, value in pairs)
            return first if choose_first else last

        def constant(name):
            raise ValueError(name)

        out = []
        for choose_first in (False, True):
            try:
                out.append(json.loads(self.text.decode("utf-8"), object_pairs_hook=members, parse_constant=constant))
            except (ValueError, RecursionError):
                return []
            if not doubled:
                break
        return out


def replaced(text, match, new):
    return text[: match.start()] + new + text[match.end() :]


def twice(rng, text):
    """A member is there twice, next to each other or far apart, the same or not."""
    found = list(MEMBER.finditer(text))
    if not found:
        return text
    one = rng.choice(found)
    member = one[0]
    if rng.random() < 0.5:
        value = rng.choice([b"null", b'""', b'"x"', b"1", b"{}", b"[]", b'{"S": "z"}', b'{"N": "7"}', b"true"])
        member = member.split(b":", 1)[0] + b": " + value
    if rng.random() < 0.5:
        return replaced(text, one, one[0] + b", " + member)
    return replaced(text, one, member + b", " + one[0])


def number(rng, text):
    new = rng.choice(NUMBERS).encode()
    found = list(re.finditer(rb": (true|false|-?\d+)", text))
    if found:
        return replaced(text, rng.choice(found), b": " + new)
    return b'{"Limit": ' + new + b", " + text[1:]


def string(rng, text):
    """Inside a value, a name or an expression."""
    found = list(STRING.finditer(text))
    if not found:
        return text
    one = rng.choice(found)
    at = rng.randint(one.start() + 1, one.end() - 1)
    return text[:at] + rng.choice(ESCAPES) + text[at:]


def named(rng, text):
    """The same text, spelled otherwise."""
    one = rng.choice(list(STRING.finditer(text)))
    inner = one[0][1:-1].decode()
    return replaced(text, one, b'"' + b"".join(b"\\u%04x" % ord(each) if ord(each) < 65536 and rng.random() < 0.5 else each.encode() for each in inner) + b'"')


def syntax(rng, text):
    at = rng.randrange(len(text))
    return rng.choice([
        lambda: text[:at], lambda: text[:at] + text[at + 1 :], lambda: text[:at] + rng.choice([b",", b"}", b"]", b"{", b"[", b'"', b":", b" ", b"\t", b"\x0b", b"\xa0", b"/", b"#"]) + text[at:],
        lambda: text + rng.choice([b" ", b"\n", b",", b"}", b"x", b"\x00", b"{}"]), lambda: rng.choice([b" ", b"\n", b"\xef\xbb\xbf", b",", b"x"]) + text, lambda: text.replace(b", ", b" ,\n\t"),
        lambda: text.replace(b'"', b"'"), lambda: text.replace(b"}", b",}", 1), lambda: text.replace(b": ", b"=", 1),
    ])()


def deep(rng, text):
    """Something nested deeply, in a member that is known or not."""
    levels = rng.choice([5, 31, 33, 50, 100, 500, 999, 1001, 3000])
    nested = rng.choice([
        b"[" * levels + b"]" * levels, b'{"L": [' * levels + b'{"S": "a"}' + b"]}" * levels, b'{"M": {"a": ' * levels + b'{"S": "a"}' + b"}}" * levels, b'{"a": ' * levels + b"1" + b"}" * levels, b"[" * levels, b'{"L": [' * levels,
    ])
    name = rng.choice([b"Unknown", b"TableName", b"Key", b"ExpressionAttributeValues"])
    if name == b"Key" or rng.random() < 0.5:
        nested = b'{"p": ' + nested + b"}"
    if name == b"ExpressionAttributeValues":
        nested = b'{":v": ' + nested + b"}"
    return b'{"' + name + b'": ' + nested + (b", " if len(text) > 2 else b"") + text[1:]


def raw(rng, body):
    text = json.dumps(body).encode()
    if rng.random() < 0.1:
        return Raw(body, rng.choice(WHOLE))
    change = rng.choice([twice, twice, number, string, string, named, syntax, syntax, deep])
    return Raw(body, change(rng, text))
