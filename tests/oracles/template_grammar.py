"""Small random templates for src/text/jinja_test.cc, and what transformers' Jinja makes of them.

    python3 -m tests.oracles.template_grammar SEED:COUNT FOLDER

writes FOLDER/cases.jsonl as tests.oracles.jinja_cases does. The same seed makes the same templates.

Expressions are made with a type in mind, so that most templates render; now and then one of another type is taken, so
that errors are compared too.
"""

import json
import pathlib
import random
import sys

from tests.oracles.jinja_cases import VARIABLES, expectation

# Where the two may differ without either being wrong: a generator prints its address, and a set's order is anyone's.
UNFIT = ("object at 0x", "built-in method", "<function", "bound method", "<Undefined", "Macro ", "<jinja2", "Cycler")

STRINGS = ["s", "t", "u", "empty", "quote", "html", "lines", "csv", "spaced", "'a'", "'Hello'", "'x-y'", "\"it's\"", "''", "'é日'", "'12'", "'%s'", "x"]
NUMBERS = ["n", "neg", "zero", "f", "1", "2", "10", "0", "3.5", "list[0]", "d.b"]
LISTS = ["list", "words", "nested", "[]", "[1, 2]", "['b', 'a']", "(1, 2)", "range(3)", "d.keys()", "csv.split(',')"]
DICTS = ["d", "people[0]", "people[2]", "{}", "{'q': 1, 'r': 'z'}", "dict(k=1)"]
ANY = ["nil", "missing", "yes", "no", "d.zz", "people", "ns", "ns.x", "y"]

TEXT_FILTERS = ["upper", "lower", "trim", "title", "capitalize", "replace('a', 'b')", "replace('l', s, 1)", "indent", "indent(2, true)", "center(12)",
                "truncate(6)", "truncate(4, true, '')", "string", "reverse", "default('q')", "tojson", "urlencode", "format", "trim('xH')"]
TEXT_METHODS = ["upper()", "lower()", "strip()", "strip('H ')", "lstrip()", "rstrip('d')", "title()", "capitalize()", "swapcase()", "casefold()", "replace('l', '')",
                "replace('o', 'oo', 1)", "removeprefix('He')", "removesuffix('ld')", "center(9, '*')", "ljust(8)", "rjust(8, '.')", "zfill(6)", "expandtabs(4)",
                "join(['a', 'b'])", "split()[0]", "split(',')[-1]", "partition(',')[2]", "splitlines()[0]", "format(1, a=2)"]
TEXT_TO_NUMBER = ["| length", "| count", "| wordcount", "| int", "| float", ".count('l')", ".find('o')", ".rfind('a')", ".index('l')"]
TEXT_TO_BOOL = [".startswith('H')", ".endswith(('d', 'x'))", ".isdigit()", ".isalpha()", ".isspace()", ".isupper()", ".islower()", ".istitle()", ".isalnum()"]
TEXT_TO_LIST = [".split()", ".split(',')", ".split(none, 1)", ".rsplit(',', 1)", ".splitlines()", ".partition(' ')", "| list", "| batch(2) | list"]
NUMBER_FILTERS = ["abs", "round", "round(1)", "round(method='floor')", "int", "float", "default(3)", "filesizeformat", "string | length"]
LIST_FILTERS = ["list", "sort", "sort(reverse=true)", "reverse | list", "unique | list", "select | list", "reject('none') | list", "map('string') | list",
                "map('upper') | list", "select('string') | list", "reject('eq', 1) | list", "batch(2) | list", "slice(2) | list", "select('defined') | list",
                "sort(case_sensitive=true)", "map('default', 'z') | list", "select('in', list) | list"]
LIST_TO_ANY = ["first", "last", "min", "max", "sum", "length", "join(', ')", "join", "tojson", "tojson(indent=2)", "string", "count"]
DICT_TO_LIST = [".keys() | list", ".values() | list", ".items() | list", "| items | list", "| dictsort", "| list", "| dictsort(by='key', reverse=true)"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true", "false", "mapping", "iterable", "sequence", "callable",
         "odd", "even", "divisibleby 2", "divisibleby(3)", "eq 1", "ne('a')", "gt 1", "lt(3)", "ge 2", "le 'b'", "in [1, 2, 'a']", "in 'abc'", "lower", "upper",
         "equalto(2)", "sameas none", "escaped", "not none", "not string", "not defined"]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.macros = []
        self.loops = 0

    def pick(self, choices):
        return self.random.choice(choices)

    def chance(self, probability):
        return self.random.random() < probability

    def any(self, depth):
        if depth <= 0 or self.chance(0.25):
            return self.pick(STRINGS + NUMBERS + LISTS + DICTS + ANY)
        return self.pick([self.text, self.number, self.list, self.dict, self.bool, self.mixed])(depth - 1)

    def mixed(self, depth):
        return self.pick([
            lambda: f"({self.any(depth)} if {self.bool(depth)} else {self.any(depth)})",
            lambda: f"({self.any(depth)} or {self.any(depth)})", lambda: f"({self.any(depth)} and {self.any(depth)})",
            lambda: f"({self.list(depth)} | {self.pick(LIST_TO_ANY)})", lambda: f"{self.list(0)}[{self.number(0)}]",
            lambda: f"{self.dict(0)}[{self.text(0)}]", lambda: f"{self.dict(0)}.get({self.text(0)}, {self.any(depth)})",
            lambda: f"({self.any(depth)} | default({self.any(depth)}, {self.pick(['true', 'false'])}))", lambda: f"({self.any(depth)} | tojson)",
            lambda: f"({self.any(depth)})", lambda: f"({self.any(depth)}, {self.any(depth)})", self.call,
        ])()

    def call(self):
        if not self.macros:
            return "missing"
        name, parameters = self.pick(self.macros)
        given = [self.any(1) for _ in range(self.random.randint(0, parameters + (1 if self.chance(0.1) else 0)))]
        if self.chance(0.2):
            given.append(f"p0={self.any(1)}")
        return f"{name}({', '.join(given)})"

    def text(self, depth):
        if depth <= 0:
            return self.pick(STRINGS)
        if self.chance(0.05):
            return self.any(depth - 1)
        inner = self.text(depth - 1)
        return self.pick([
            lambda: f"({inner} | {self.pick(TEXT_FILTERS)})", lambda: f"({inner}).{self.pick(TEXT_METHODS)}", lambda: f"({inner} ~ {self.any(depth - 1)})",
            lambda: f"({inner} + {self.text(depth - 1)})", lambda: f"({inner})[{self.slice()}]", lambda: f"({inner} * {self.pick(['0', '1', '2'])})",
            lambda: f"({self.any(depth - 1)} | string)", lambda: f"'%s|%s' % ({inner}, {self.any(depth - 1)})",
            lambda: f"'{{}}:{{:>4}}'.format({inner}, {self.number(0)})", lambda: f"'%{self.pick(['05', '-6', '+', ' ', '.2', '#'])}{self.pick('dixfegsr')}|' % {self.number(depth - 1)}",
            lambda: f"'{{:{self.pick(['', '>', '^', '=', '+', '0', ','])}{self.pick(['', '8', '3'])}{self.pick(['', '.2', '.0'])}{self.pick(['', 'd', 'f', 'e', 'g', 's', '%', 'x'])}}}'.format({self.number(depth - 1)})",
        ])()

    def slice(self):
        bound = lambda: self.pick(["", "", "0", "1", "-1", "2", "-2", "100"])
        return self.pick([f"{bound()}:{bound()}", f"{bound()}:{bound()}:{self.pick(['1', '2', '-1'])}", self.pick(["0", "-1", "1"])])

    def number(self, depth):
        if depth <= 0:
            return self.pick(NUMBERS)
        if self.chance(0.05):
            return self.any(depth - 1)
        inner = self.number(depth - 1)
        return self.pick([
            lambda: f"({inner} {self.pick(['+', '-', '*', '/', '//', '%'])} {self.number(depth - 1)})", lambda: f"({inner} | {self.pick(NUMBER_FILTERS)})",
            lambda: f"(-{inner})", lambda: f"({self.text(depth - 1)}){self.pick(TEXT_TO_NUMBER)}", lambda: f"({self.list(depth - 1)} | length)",
            lambda: f"({inner} ** {self.pick(['2', '0', '1'])})", lambda: f"({self.list(depth - 1)} | sum)",
        ])()

    def bool(self, depth):
        if depth <= 0:
            return self.pick(["yes", "no", "list", "empty", "nil", "missing", "n"])
        return self.pick([
            lambda: f"{self.any(depth - 1)} is {self.pick(TESTS)}", lambda: f"({self.number(depth - 1)} {self.pick(['<', '<=', '>', '>=', '==', '!='])} {self.number(depth - 1)})",
            lambda: f"({self.any(depth - 1)} {self.pick(['==', '!='])} {self.any(depth - 1)})", lambda: f"({self.any(depth - 1)} {self.pick(['in', 'not in'])} {self.list(depth - 1)})",
            lambda: f"(not {self.bool(depth - 1)})", lambda: f"({self.bool(depth - 1)} and {self.bool(depth - 1)})", lambda: f"({self.bool(depth - 1)} or {self.bool(depth - 1)})",
            lambda: f"({self.text(depth - 1)}){self.pick(TEXT_TO_BOOL)}", lambda: f"({self.text(0)} in {self.text(depth - 1)})", lambda: f"({self.number(0)} < {self.number(0)} <= {self.number(0)})",
        ])()

    def list(self, depth):
        if depth <= 0:
            return self.pick(LISTS)
        if self.chance(0.05):
            return self.any(depth - 1)
        inner = self.list(depth - 1)
        return self.pick([
            lambda: f"({inner} | {self.pick(LIST_FILTERS)})", lambda: f"({inner} + {self.list(depth - 1)})", lambda: f"({inner})[{self.pick(['1:', ':2', '::-1', '-2:', ':'])}]",
            lambda: f"[{self.any(depth - 1)}, {self.any(depth - 1)}]", lambda: f"({self.text(depth - 1)}){self.pick(TEXT_TO_LIST)}",
            lambda: f"({self.dict(depth - 1)}){self.pick(DICT_TO_LIST)}", lambda: f"(people | selectattr('{self.pick(['ok', 'age', 'deep'])}') | map(attribute='name') | list)",
            lambda: f"(people | map(attribute='{self.pick(['name', 'age', 'deep.x', 'zz'])}', default={self.any(0)}) | list)",
            lambda: f"(people | {self.pick(['selectattr', 'rejectattr'])}('age', '{self.pick(['==', 'gt', 'lt', 'eq', 'ne', 'odd'])}', {self.number(0)}) | map(attribute='name') | list)",
            lambda: f"(people | groupby('{self.pick(['age', 'ok', 'name'])}') | map('first') | list)", lambda: f"(people | sort(attribute='{self.pick(['age', 'name', 'age,name', 'ok'])}') | map(attribute='name') | list)",
        ])()

    def dict(self, depth):
        if depth <= 0:
            return self.pick(DICTS)
        return self.pick([
            lambda: f"{{'k': {self.any(depth - 1)}, {self.text(0)}: {self.any(depth - 1)}}}", lambda: f"dict({self.dict(0)}, z={self.any(depth - 1)})",
            lambda: self.pick(DICTS), lambda: f"dict(**{{'v': {self.any(depth - 1)}}})", lambda: f"dict([('a', {self.any(depth - 1)})])",
        ])()

    def data(self):
        return self.pick(["a", " b ", "\n", "  \n", "x\n  ", "", "<|im_start|>", " ", "\t", "é"])

    def sign(self):
        return self.pick(["", "", "", "-", "+"])

    def tag(self, body):
        return f"{{%{self.sign()} {body} {self.sign()}%}}"

    def block(self, depth, count=3):
        return "".join(self.data() + self.statement(depth) for _ in range(self.random.randint(1, count))) + self.data()

    def statement(self, depth):
        if depth <= 0 or self.chance(0.35):
            return f"{{{{{self.pick(['', '-', '+', ''])} {self.any(3)} {self.pick(['', '-'])}}}}}"
        return self.pick([self.if_, self.for_, self.set_, self.set_block, self.macro, self.call_block, self.filter_block, self.with_, self.namespace, self.comment,
                          self.generation, self.raw, self.control])(depth - 1)

    def if_(self, depth):
        middle = self.tag(f"elif {self.bool(2)}") + self.block(depth, 1) if self.chance(0.3) else ""
        end = self.tag("else") + self.block(depth, 1) if self.chance(0.4) else ""
        return self.tag(f"if {self.bool(2)}") + self.block(depth) + middle + end + self.tag("endif")

    def for_(self, depth):
        target, items = self.pick([("x", self.list(2)), ("x", self.text(1)), ("x, y", f"({self.dict(1)}).items()"), ("x", "nested"), ("y", self.list(1)), ("x, (y, z)", "[(1, (2, 3))]")])
        condition = f" if {self.pick(['x is defined', 'yes', 'x', 'x != 2', self.bool(1)])}" if self.chance(0.3) else ""
        recursive = self.chance(0.12)
        inside = ""
        if recursive:
            inside = "{% if x is iterable and x is not string and x is not mapping %}({{ loop(x) }}){% endif %}"
        elif self.chance(0.6):
            inside = "{{ loop." + self.pick(["index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "previtem", "nextitem", "cycle('p', 'q')", "changed(x)"]) + " }}"
        self.loops += 1
        body = self.block(depth)
        self.loops -= 1
        otherwise = self.tag("else") + self.block(depth, 1) if self.chance(0.25) else ""
        return self.tag(f"for {target} in {items}{condition}{' recursive' if recursive else ''}") + inside + body + otherwise + self.tag("endfor")

    def control(self, depth):
        if not self.loops:
            return "{{ n }}"
        return self.tag(f"if {self.bool(1)}") + self.tag(self.pick(["break", "continue"])) + self.tag("endif")

    def set_(self, depth):
        return self.tag(self.pick([f"set x = {self.any(3)}", f"set y = {self.any(2)}", f"set x, y = {self.any(1)}, {self.any(1)}", f"set ns.x = {self.any(2)}", f"set x = {self.text(2)}"]))

    def own(self, depth):
        loops, self.loops = self.loops, 0
        body = self.block(depth)
        self.loops = loops
        return body

    def set_block(self, depth):
        return self.tag(f"set x{self.pick(['', ' | upper', ' | trim | lower', ' | length'])}") + self.own(depth) + self.tag("endset")

    def macro(self, depth):
        name, count = f"m{len(self.macros)}", self.random.randint(0, 3)
        parameters = [f"p{i}" for i in range(count)]
        defaults = self.random.randint(0, count)
        for i in range(count - defaults, count):
            parameters[i] += f"={self.any(1)}"
        uses = "".join(f"{{{{ p{i} }}}}" for i in range(count)) + self.pick(["", "", "{{ varargs }}", "{{ kwargs }}", "{% if caller %}{{ caller(n) }}{% endif %}"])
        text = self.tag(f"macro {name}({', '.join(parameters)})") + uses + self.own(depth) + self.tag("endmacro")
        self.macros.append((name, count))
        return text + f"{{{{ {self.call()} }}}}"

    def call_block(self, depth):
        if not self.macros:
            return self.comment(depth)
        return self.tag(f"call{self.pick(['', '(q)', '(q=1)'])} {self.call()}") + self.own(depth) + self.tag("endcall")

    def filter_block(self, depth):
        return self.tag(f"filter {self.pick(TEXT_FILTERS[:8])}") + self.own(depth) + self.tag("endfilter")

    def with_(self, depth):
        return self.tag(f"with x = {self.any(2)}, y = {self.any(1)}") + self.block(depth) + self.tag("endwith")

    def namespace(self, depth):
        return self.tag(f"set ns = namespace(x={self.any(1)})") + self.tag(f"set ns.x = {self.any(2)}") + "{{ ns.x }}"

    def comment(self, depth):
        return f"{{#{self.sign()} {self.data()} {self.sign()}#}}"

    def generation(self, depth):
        return self.tag("generation").replace("+", "") + self.own(depth) + self.tag("endgeneration")

    def raw(self, depth):
        return "{% raw %}{{ x }}{% endraw %}"


def cases(seed, count):
    made = 0
    while made < count:
        maker = Maker(seed)
        seed += 1
        start = "{% set ns = namespace(x=1) %}" if maker.chance(0.9) else ""
        source = start + maker.block(3)
        if "})[" in source:  # a slice of a constant mapping: an error, unless Jinja's optimiser meets it
            continue
        case = expectation(source)
        if any(part in case.get("text", "") for part in UNFIT) or len(case.get("text", "")) > 20000:
            continue
        made += 1
        yield case


def main():
    seed, count = map(int, sys.argv[1].split(":"))
    with open(pathlib.Path(sys.argv[2]) / "cases.jsonl", "w") as lines:
        for case in cases(seed, count):
            del case["variables"]  # always the same
            lines.write(json.dumps(case) + "\n")
    (pathlib.Path(sys.argv[2]) / "variables.json").write_text(json.dumps(VARIABLES))


if __name__ == "__main__":
    main()
