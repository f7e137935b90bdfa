"""Breaks the JSON of a request: members gone, unknown or of another type. What is broken is drawn anew each time."""

import copy

JUNK = [None, None, 0, 1, -1, 1.5, 1e30, True, False, "", "x", "true", "1", [], {}, [None], [1], ["x"], [[]], [{}], {"x": 1}, {"S": "a"}, {"S": None}, {"N": 1},
    {"B": "a"}, {"B": "YQ==\n"}, {"B": "*"}, {"BOOL": "x"}, {"NULL": "no"}, {"SS": ["a", None]}, {"SS": "a"}, {"L": {}}, {"M": []}, {"S": ["a"]}, {"S": {"a": 1}}, "a" * 300, "a b"]


def places(value, at=()):
    """The path of each member, however deep."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, below in inner:
        yield at + (name,)
        yield from places(below, at + (name,))


def broken(rng, body):
    body = copy.deepcopy(body)
    every = list(places(body))
    if not every:
        return {rng.choice(["TableName", "x"]): rng.choice(JUNK)}
    # Shallow places are as likely as all the deep ones together.
    shallow = [one for one in every if len(one) == 1]
    place = rng.choice(shallow if rng.random() < 0.6 else every)
    holder = body
    for name in place[:-1]:
        holder = holder[name]
    choice = rng.random()
    if choice < 0.25:
        del holder[place[-1]]
    elif choice < 0.3 and isinstance(holder, dict):
        holder["Unknown"] = rng.choice(JUNK)
    else:
        holder[place[-1]] = copy.deepcopy(rng.choice(JUNK))
    return body
