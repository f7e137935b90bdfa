"""Random attribute values: most of them small and often the same, some at the edges of what DynamoDB takes, a few beyond."""

NAMES = ["a", "b", "c", "l", "n", "size", "name", "a-b", "ü", "Abc"]
STRINGS = ["", "a", "ab", "abc", "b", "ü", "z", "k\u0000", "😀"]
NUMBERS = ["0", "1", "-1", "2.5", "10", "1e3", "-0.001", "123456789012345678901234567890", "1E-20"]
EDGE_NUMBERS = [
    "99999999999999999999999999999999999999", "-99999999999999999999999999999999999999", "9.9999999999999999999999999999999999999E+125",
    "-9.9999999999999999999999999999999999999E+125", "1E-130", "-1E-130", "1e125", "1.0000000000000000000000000000000000001",
    "0.00000000000000000000000000000000000001", "100000000000000000000000000000000000000000", "-0", "+5", "1.", ".5", "007", "1.50", "1E+2", "0e500", "0.0",
    "1e37", "1e38", "1e-37", "5e-130", "12345678901234567890123456789012345678",
]
BAD_NUMBERS = [
    "1E126", "-1E126", "1E-131", "-1E-131", "123456789012345678901234567890123456789", "1.00000000000000000000000000000000000001",
    "", " ", "1 ", " 1", "1e", "e5", "0x1", "1_000", "NaN", "Infinity", "1,5", "--1", "1e1.5", "1e9999999999", ".", "-", "1e5000", "1e-5000", "١",
]
BINARIES = ["", "YQ==", "YWI=", "/w==", "AAA="]
BAD_VALUES = [
    {}, {"S": "a", "N": "1"}, {"SS": []}, {"NS": []}, {"BS": []}, {"NS": ["1", "1.0"]}, {"SS": ["a", "a"]}, {"BS": ["YQ==", "YQ=="]}, {"NULL": False},
    {"NS": ["1", "x"]}, {"L": [{}]}, {"M": {"a": {}}}, {"M": {"a": {"SS": []}}}, {"L": [{"N": "1e200"}]}, {"X": "a"}, {"NS": ["1", ""]},
    {"L": [{"S": "a", "N": "1"}]}, {"BOOL": True, "NULL": True}, {"M": {"": {"S": "a"}}}, {"L": [{"NULL": False}]},
]


def nested(levels, inner, rng):
    for _ in range(levels):
        inner = {"L": [inner]} if rng.random() < 0.5 else {"M": {"a": inner}}
    return inner


class Values:
    """Needs `self.rng`."""

    def document(self):
        """A map with something of every kind in it, for paths that lead deep."""
        rng = self.rng
        inner = {"a": {"N": rng.choice(NUMBERS)}, "b": {"L": [self.value(2) for _ in range(rng.randint(1, 4))]}, "c": {"SS": rng.sample(STRINGS, 2)}, "name": {"M": {"a": self.scalar("S"), "n": {"NS": ["1", "2"]}}}}
        return {"M": inner} if rng.random() < 0.7 else {"L": [{"M": inner}, {"L": [{"N": "1"}, self.scalar("S")]}]}

    def number(self):
        choice = self.rng.random()
        if choice < 0.75:
            return self.rng.choice(NUMBERS)
        if choice < 0.99:
            return self.rng.choice(EDGE_NUMBERS)
        return self.rng.choice(BAD_NUMBERS)

    def scalar(self, kind):
        rng = self.rng
        if kind == "S":
            return {"S": rng.choice(STRINGS)}
        return {"N": self.number()} if kind == "N" else {"B": rng.choice(BINARIES)}

    def value(self, depth=0):
        rng = self.rng
        kind = rng.choice(["S", "S", "N", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"])
        if depth > 2 and kind in "LM":
            kind = "S"
        if rng.random() < 0.01:
            return rng.choice(BAD_VALUES)
        if depth == 0 and rng.random() < 0.003:
            return nested(rng.choice([29, 30, 31, 32, 33]), {"S": "a"}, rng)
        if kind in ("S", "N", "B"):
            return self.scalar(kind)
        if kind == "BOOL":
            return {"BOOL": rng.random() < 0.5}
        if kind == "NULL":
            return {"NULL": True}
        if kind == "SS":
            return {"SS": rng.sample(STRINGS, rng.randint(1, 3))}
        if kind == "NS":
            return {"NS": rng.sample(NUMBERS, rng.randint(1, 3))}
        if kind == "BS":
            return {"BS": rng.sample(BINARIES, rng.randint(1, 3))}
        if kind == "L":
            return {"L": [self.value(depth + 1) for _ in range(rng.randint(0, 3))]}
        return {"M": {name: self.value(depth + 1) for name in rng.sample(NAMES, rng.randint(0, 3))}}
