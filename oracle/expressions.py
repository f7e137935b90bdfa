"""Random expressions. Each keeps what it named and used, so that most are valid."""

from values import BINARIES, NAMES, STRINGS, Values

COMPARATORS = ["=", "<>", "<", "<=", ">", ">="]
PLACED = ("size", "name", "a-b", "ü")
RESERVED = ["select", "Select", "SELECT", "status", "data", "year", "date", "count", "ttl", "value"]
BROKEN = [
    "a", "a =", "= a", "a = :v0 AND", "()", "", " ", "a == :v0", "a = :v0 OR OR b = :v0", "a[:v0] = :v0", "a[-1] = :v0", "a.b. = :v0", "((a = :v0))",
    "(a) = :v0", "foo(a)", "size(a)", "attribute_exists()", "attribute_exists(a, b)", "attribute_exists(:v0)", "contains(a)", "begins_with(a, b, c)",
    "a IN ()", "a IN (:v0", "a BETWEEN :v0", "a BETWEEN :v0 OR :v0", "NOT", "a = :v0 a", "a = 5", "a = 'x'", "# = :v0", "a = :", "a[99999999999] = :v0",
    "if_not_exists(a, :v0)", "list_append(a, :v0) = a", "a = :v0; b", "a & b", "1a = :v0", "_a = :v0", "a = a", "a <> a", "a between a and b", "not a = :v0",
    "a in (a, b)", "size(size(a)) = :v0", "attribute_type(a, a)", "SIZE(a) = :v0", "a = (:v0)", "(a = :v0) AND ((b = :v0))", "a . b = :v0", "a [0] = :v0",
]
BROKEN_UPDATES = [
    "", " ", "SET", "SET a", "SET a =", "SET a = :v0,", "SET a = :v0 SET b = :v0", "REMOVE", "REMOVE a,", "ADD a", "ADD a :v0 :v0", "DELETE a b", "SET a = b = c",
    "SET a = :v0 + :v0 + :v0", "SET a = (:v0)", "SET a = (a + :v0)", "SET a = size(a)", "SET a = attribute_exists(a)", "SET a = foo(a)", "set a = :v0 remove b",
    "SET a = list_append(a)", "SET a = if_not_exists(a)", "SET a = if_not_exists(:v0, a)", "SET a += :v0", "UPDATE a = :v0", "SET a = list_append(list_append(a, :v0), :v0)",
    "SET a = if_not_exists(a, list_append(b, :v0))", "SET :v0 = a", "ADD a = :v0", "REMOVE :v0", "ADD a b", "SET a = if_not_exists(a, a)", "SET a = - :v0",
    "SET a = ((:v0))", "SET a = list_append(a, if_not_exists(b, :v0))", "SET a.b = :v0, a.c = :v0", "SET a = b, b = a", "REMOVE a[0], a[1], a[2]", "SET a[0] = a[1], a[1] = a[0]",
]


def places(value, at=()):
    """Each path inside a value, with its type and value."""
    (kind, inner), = value.items()
    if at:
        yield at, kind, value
    if kind in ("M", "L"):
        for name, below in inner.items() if kind == "M" else enumerate(inner):
            yield from places(below, at + (name,))


class Expressions(Values):
    """Needs `self.names` and `self.values`, new for each request, and `self.current`: what the item that the request is about is
    believed to be, or an empty one."""

    # Attributes that an action of the update acts on already, and whether such an action is being made.
    taken, in_update = frozenset(), False

    def spelled(self, name):
        if name in PLACED or self.rng.random() < 0.2:
            placeholder = "#" + name.replace("-", "_").replace("ü", "u")
            if self.rng.random() < 0.995:
                self.names[placeholder] = name
            return placeholder
        return name

    def name(self):
        return self.spelled(self.rng.choice(NAMES))

    def there(self, kinds=None):
        """The path of something that is in the item, and its value; (None, None) if there is none of those types."""
        found = [(at, value) for at, kind, value in places({"M": self.current}) if (not kinds or kind in kinds) and at[0] in NAMES and at[0] not in self.taken]
        # Deep ones as often as all the shallow ones.
        deep = [one for one in found if len(one[0]) > 1]
        if not found:
            return None, None
        at, value = self.rng.choice(deep if deep and self.rng.random() < 0.6 else found)
        if self.in_update and self.rng.random() < 0.8:
            self.taken.add(at[0])
        return "".join(f"[{one}]" if isinstance(one, int) else ("." if place else "") + self.spelled(one) for place, one in enumerate(at) if isinstance(one, int) or one in NAMES), value

    def path(self, kinds=None):
        if self.rng.random() < 0.6:
            path, value = self.there(kinds)
            if path:
                (kind, _), = value.items()
                if kind == "M" and self.rng.random() < 0.3:
                    return f"{path}.{self.name()}"
                if kind == "L" and self.rng.random() < 0.3:
                    return f"{path}[{self.rng.randint(0, 4)}]"
                return path
        path = self.name()
        while self.rng.random() < 0.25:
            path += self.rng.choice([f"[{self.rng.randint(0, 3)}]", "." + self.name()])
        choice = self.rng.random()
        if choice < 0.02:
            return self.rng.choice(["p", "p.a", "r", "l[0]", "r[1]", self.rng.choice(RESERVED), "l.a"])
        if choice < 0.023:
            return path + self.rng.choice([".a", "[0]"]) * self.rng.choice([10, 30, 31, 32, 40])
        return path

    def literal(self, value=None):
        name = f":v{len(self.values)}"
        if self.rng.random() < 0.997:
            self.values[name] = value or self.value()
        return name

    def operand(self):
        choice = self.rng.random()
        if choice < 0.5:
            return self.path()
        if choice < 0.9:
            return self.literal()
        return f"size({self.path() if choice < 0.99 else self.literal()})"

    def condition(self, depth=0):
        rng = self.rng
        if depth == 0 and rng.random() < 0.02:
            text = rng.choice(BROKEN)
            if ":v0" in text:
                self.literal(rng.choice([None, {"S": "a"}, {"N": "1"}]))
            return text
        if depth == 0 and rng.random() < 0.003:
            literal = self.literal({"S": "a"})
            return rng.choice([
                f"a IN ({', '.join([literal] * rng.choice([99, 100, 101]))})",
                " AND ".join([f"a = {literal}"] * rng.choice([150, 151, 299, 300, 301])),
                "NOT " * rng.choice([100, 299, 300, 301]) + f"a = {literal}",
                f"a = {literal}" + " " * rng.choice([4083, 4087, 4090, 4100]),
                f"a = {literal}" + "".join(f" OR {'x' * 250}{at} = {literal}" for at in range(rng.choice([14, 16]))),
            ])
        choice = rng.randint(0, 11 if depth < 3 else 8)
        if choice == 0 or (depth == 0 and rng.random() < 0.3):
            # One that is likely to hold.
            path, value = self.there()
            if path:
                return rng.choice([lambda: f"{path} = {self.literal(value)}", lambda: f"attribute_exists({path})", lambda: f"attribute_type({path}, {self.literal({'S': next(iter(value))})})",
                    lambda: f"NOT {path} <> {self.literal(value)}", lambda: f"{path} IN ({self.literal()}, {self.literal(value)})", lambda: f"contains({path}, {self.literal()})",
                    lambda: f"size({path}) >= {self.literal({'N': '0'})}", lambda: f"{path} <= {self.literal(value)}"])()
        if choice <= 2:
            return f"{self.operand()} {rng.choice(COMPARATORS)} {self.operand()}"
        if choice == 3:
            return f"attribute_exists({self.path()})"
        if choice == 4:
            return f"attribute_not_exists({self.path()})"
        if choice == 5:
            kind = rng.choice([{"S": rng.choice(["S", "N", "B", "BOOL", "SS", "L", "M", "NULL", "X"])}] * 9 + [{"N": "1"}])
            return f"attribute_type({self.path()}, {self.literal(kind)})"
        if choice == 6:
            return f"{rng.choice(['begins_with', 'contains'])}({self.operand()}, {self.operand()})"
        if choice == 7:
            return f"{self.operand()} IN ({', '.join(self.operand() for _ in range(rng.randint(1, 3)))})"
        if choice == 8:
            return f"{self.operand()} BETWEEN {self.operand()} AND {self.operand()}"
        if choice == 9:
            return f"NOT {self.condition(depth + 1)}"
        if choice == 10:
            return f"({self.condition(depth + 1)})"
        return f"{self.condition(depth + 1)} {rng.choice(['AND', 'OR', 'and', 'or'])} {self.condition(depth + 1)}"

    def set_operand(self, depth=0, number=False):
        rng = self.rng
        if number and rng.random() < 0.7:
            # Arithmetic that can succeed.
            one = {"N": rng.choice(["1", "-2.5", "1e3"])}
            return rng.choice([lambda: self.path("N"), lambda: self.literal(one), lambda: f"if_not_exists({self.path('N')}, {self.literal(one)})"])()
        choice = rng.randint(0, 4 if depth < 2 else 2)
        if choice == 0:
            return self.path()
        if choice == 1:
            return self.literal()
        if choice == 2:
            return self.literal({"N": self.number()})
        if choice == 3:
            return f"if_not_exists({self.path()}, {self.literal() if rng.random() < 0.7 else self.set_operand(depth + 1)})"
        lists = [lambda: self.path("L"), lambda: self.path("L"), lambda: self.literal({"L": [self.value(2)]}), lambda: f"if_not_exists({self.path()}, {self.literal({'L': []})})", self.literal]
        return f"list_append({rng.choice(lists)()}, {rng.choice(lists)()})"

    def set_value(self):
        if self.rng.random() < 0.7:
            return self.set_operand()
        return f"{self.set_operand(0, True)} {self.rng.choice('+-')} {self.set_operand(0, True)}"

    def update(self):
        rng = self.rng
        if rng.random() < 0.03:
            text = rng.choice(BROKEN_UPDATES)
            if ":v0" in text:
                self.literal(rng.choice([None, {"L": [{"S": "a"}]}, {"N": "1"}, {"SS": ["a"]}]))
            return text
        clauses = []
        self.taken = set()
        for clause in rng.sample(["SET", "REMOVE", "ADD", "DELETE"], rng.choice([1, 1, 1, 2])):
            actions = []
            for _ in range(rng.choice([1, 1, 2, 3])):
                # Most actions keep out of each other's way: the attributes that they act on are taken.
                self.in_update = True
                action = self.adding(clause) if clause in ("ADD", "DELETE") else self.path()
                self.in_update, taken, self.taken = False, self.taken, set()
                actions.append(f"{action} = {self.set_value()}" if clause == "SET" else action)
                self.taken = taken
            clauses.append(f"{clause} {', '.join(actions)}")
        self.taken = set()
        return " ".join(clauses)

    def adding(self, clause):
        """An action of ADD or DELETE, often of the type that is there."""
        path = None
        if self.rng.random() < 0.7:
            path, value = self.there(("N", "SS", "NS", "BS") if clause == "ADD" else ("SS", "NS", "BS"))
        if path:
            (kind, _), = value.items()
            fit = {"N": {"N": self.rng.choice(["1", "-0.5", "1e10"])}, "SS": {"SS": self.rng.sample(STRINGS, 2)}, "NS": {"NS": ["1", "10", "-1"]}, "BS": {"BS": self.rng.sample(BINARIES, 2)}}[kind]
            return f"{path} {self.literal(value if clause == 'DELETE' and self.rng.random() < 0.4 else fit)}"
        return f"{self.path()} {self.literal(self.added(clause) if self.rng.random() < 0.85 else None)}"

    def added(self, clause):
        rng = self.rng
        sets = [{"SS": rng.sample(STRINGS, rng.randint(1, 3))}, {"NS": ["1", "10"]}, {"BS": rng.sample(BINARIES, 2)}]
        return rng.choice(sets + [{"N": self.number()}] * 3 if clause == "ADD" else sets)

    def projection(self):
        if self.rng.random() < 0.01:
            return self.rng.choice(["", " ", "a,", ",a", "a b", "a, a", "a.b, a", "a[0], a[0].b", ":v0", "a[-1]", "#zz", "a..b", "size(a)", "(a)", "a[x]", "*"])
        return ", ".join(self.path() for _ in range(self.rng.randint(1, 3)))
