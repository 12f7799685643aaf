"""What transformers' Jinja makes of small templates, for src/text/jinja_test.cc.

    python3 -m tests.oracles.jinja_cases all FOLDER

writes FOLDER/cases.jsonl: {"source", "variables"} and "text", or "error" where rendering or compiling fails.
"""

import itertools
import json
import pathlib
import sys

from transformers.utils import chat_template_utils

from tests.oracles.nasty_text import FRAGMENTS

VARIABLES = {
    "s": "Hello, World", "t": "  padded\t\n", "u": "ünïcödé ß 日本 👍", "empty": "", "quote": "it's \"q\" \\ \n <&>",
    "n": 7, "neg": -3, "zero": 0, "f": 2.5, "big": 1e22, "small": 1.5e-7, "yes": True, "no": False, "nil": None,
    "list": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "nested": [[1, 2], [3, [4, "x"]]],
    "d": {"b": 1, "a": [1, {"c": None}], "items": "shadow", "k'ey": "v\u2028"},
    "people": [{"name": "Ann", "age": 30, "ok": True}, {"name": "bob", "age": 25, "ok": False},
               {"name": "Cy", "age": 30, "deep": {"x": [5, 6]}}],
    "html": "<b>&'\"", "lines": "a\nb\r\nc\n\nd", "csv": "a,b,,c", "spaced": " a  b c ",
}

EXPRESSIONS = """
1 + 2 * 3 - 4 / 2
7 // 2, -7 // 2, 7 % 3, -7 % 3, 7 % -3, 7.5 // 2, -7.5 % 2
2 ** 10, 2 ** -1, 2 ** 3 ** 2, -2 ** 2, 10 ** 17
1 / 3, 1e16, 1e15, 123456789012345680.0, 0.1 + 0.2, 1.0, -0.0, 1e-4, 1e-5, 5e-324
n / zero
n % zero
n + s
s + n
s ~ n ~ nil ~ yes ~ f ~ list
s * 2, list * 2, 2 * s, -1 * s
[1] + [2], (1,) + (2,)
[1] + (2,)
not yes, not nil, not list, not empty
yes and no or 5, nil or empty or 'x', 1 and 2
1 if yes else 2, 1 if no else 2
(1 if no)
('a' if no) ~ 'b'
1 < 2 < 3, 1 < 2 > 3, 1 == 1.0, yes == 1, 'a' < 'b', [1, 2] < [1, 3]
1 < 'a'
nil == none, nil != none, missing == missing, missing == 1
3 in list, 9 not in list, 'ell' in s, '' in s, 'a' in d, 1 in 'a'
'x' in missing
'a' in n
s[0], s[-1], s[1:4], s[:-1], s[::-1], s[::2], s[4:1:-1], s[100:], s[:], u[1], u[-1], u[2:6], u[::-3]
list[0], list[-1], list[1:], list[::-1], list[5:], list[-2:], list[:2:1]
list[10]
list['x'], d['zz'], s['zz']
(list[10] is defined), (d.zz is defined), (missing is defined), (d.a is defined)
list[::0]
d.a, d['a'], d.b, d['items']
d.items()
d.keys() | list, d.values() | list, d.get('b'), d.get('q'), d.get('q', 5)
d.a[1].c, people[2].deep.x[1], nested[1][1][1], people.0.name
missing
missing.x
d.zz.y
nil.x
missing()
n()
list, d, nested, nil, yes, f, big, small, (1,), (), [], {}, quote, [quote, "it's", '"', html]
{'a': 1, 'b': [1, 2], 3: 'x', none: 4, true: 5}
{'a': 1, 'a': 2}
{[1]: 2}
'a' 'b' "c"
'\\n|\\t|\\x41|\\u00e9|\\U0001f44d|\\101|\\q|\\\\|\\''
s.upper(), s.lower(), s.title(), u.upper(), u.title(), u.capitalize(), 'ÉCOLE'.lower(), 'ﬁ'.upper(), 'ΑΣ'.lower()
t.strip() ~ '|', t.lstrip() ~ '|', t.rstrip() ~ '|', 'xxaxx'.strip('x'), 'xyaxy'.lstrip('yx'), 'ab'.rstrip('b')
csv.split(','), spaced.split(), spaced.split(' '), csv.split(',', 1), spaced.split(none, 1), 'aXbXc'.split('X')[-1]
csv.split('')
csv.rsplit(',', 1), spaced.rsplit(), spaced.rsplit(none, 1), lines.splitlines(), lines.splitlines(true)
s.startswith('He'), s.endswith('ld'), s.startswith(('x', 'H')), s.startswith('')
s.startswith(1)
s.replace('l', 'L'), s.replace('l', 'L', 1), s.replace('', '-'), s.replace('zzz', ''), 'aaa'.replace('aa', 'b')
s.find('o'), s.find('zz'), s.rfind('o'), s.count('o'), s.index('W'), u.find('日')
s.index('zz')
', '.join(words), '-'.join('abc')
', '.join(list)
'abc'.removeprefix('a'), 'abc'.removesuffix('c'), 'abc'.removesuffix('x')
'12'.isdigit(), ''.isdigit(), ' '.isspace(), 'a1'.isdigit()
list.index(1), list.count(3)
list.append(4)
d.update({'x': 1})
d.pop('b')
s.nope
s.nope()
s.__class__
s | upper, s | lower, u | capitalize, 'hello wORLD-foo (bar) [x' | title, t | trim ~ '|', 'xax' | trim('x')
s | length, list | length, d | length, u | count, missing | length
n | length
missing | default('d'), nil | default('d'), nil | default('d', true), empty | default('d', boolean=true), missing | d
missing | default ~ '|'
list | first, list | last, [] | first, words | last, u | first
list | sort, words | sort, words | sort(case_sensitive=true), list | sort(reverse=true), people | sort(attribute='age')
[1, 'a'] | sort
words | unique | list, list | reverse | list, s | reverse, [1, 1.0, 2] | unique | list
words | join(', '), list | join, people | join('/', attribute='name'), [1, none, 'a'] | join('-'), [] | join('x')
list | sum, people | sum(attribute='age'), list | min, list | max, words | min, people | max(attribute='age')
list | list, 'abc' | list, d | list, missing | list
n | list
words | map('upper') | list, people | map(attribute='name') | list, people | map(attribute='deep.x.0', default=0) | list
people | selectattr('ok') | list, people | selectattr('age', 'equalto', 30) | map(attribute='name') | list
people | rejectattr('ok') | map(attribute='name') | list, people | selectattr('deep', 'defined') | list | length
list | select('odd') | list, list | reject('equalto', 3) | list, ['', 'a', 0] | select | list, nil | select | list
list | map('nope') | list
d | items | list, missing | items | list
list | items | list
d.items() | tojson
d.keys() is sequence, d.items() is iterable
d | dictsort, {'B': 1, 'a': 2} | dictsort, {'B': 1, 'a': 2} | dictsort(true), {'B': 2, 'a': 1} | dictsort(by='value')
s | replace('o', '0'), s | replace('o', '0', 1), n | replace('7', '8')
'12' | int, '12.9' | int, 'x' | int, 'x' | int(5), 3.99 | int, -3.99 | int, ' 7 ' | int, nil | int, yes | int
'1.5' | float, 'x' | float, 'x' | float(2.5), 3 | float, '1e3' | float
neg | abs, -2.5 | abs, 2.5 | round, 3.5 | round, 2.567 | round(2), 2.5 | round(0, 'ceil'), 2.5 | round(method='floor')
42 | round, 42.123 | round(1, 'floor')
n | string + 'x', list | string, nil | string
d | tojson, list | tojson, u | tojson, quote | tojson, nil | tojson, yes | tojson, f | tojson, big | tojson, html | tojson
d | tojson(indent=2)
d | tojson(indent=4)
nested | tojson(indent=0)
d | tojson(ensure_ascii=true), u | tojson(true), '\\x7f\\x1f' | tojson, '\\x7f' | tojson(ensure_ascii=true)
d | tojson(separators=(',', ':')), d | tojson(sort_keys=true), [] | tojson(indent=2), {} | tojson(indent=2)
{1: 2, none: 3, true: 4, 1.5: 5} | tojson
missing | tojson
namespace(a=1) | tojson
d | tojson(nope=1)
lines | indent, lines | indent(2), lines | indent(2, true), lines | indent(2, blank=true), lines | indent('>> ')
html | safe, (html | safe) ~ '<', (html | safe) + '<', '<' + (html | safe), ((html | tojson | safe) if yes else 1)
yes is true, no is false, yes is boolean, 1 is boolean, 1 is integer, yes is integer, 1.0 is float, 1 is number
s is string, list is string, d is mapping, list is mapping, list is sequence, d is sequence, s is sequence
s is iterable, n is iterable, list is iterable, d is iterable, missing is iterable, nil is iterable
nil is none, missing is none, missing is undefined, missing is not defined, s is not none
3 is odd, 4 is even, 9 is divisibleby 3, 9 is divisibleby(4), 1 is eq 1, 1 is ne(2), 1 is lt 2, 2 is ge 2, 1 is in [1, 2]
'a' is lower, 'A' is upper, 'Aa' is lower, '1' is lower
s is eq('Hello, World') and n is odd or no
n is not odd, not n is odd
range(3) | list, range(1, 4) | list, range(5, 0, -2) | list, range(0) | list
range(1000000)
range(0, 5, 0)
dict(a=1, b=2), dict({'x': 1}, y=2)
namespace(a=1).a, namespace({'q': 2}).q
namespace(a=1).b
raise_exception('told so: ' ~ n)
n.foo.bar
-n, +n, -f, - n | abs, -'a'
1_000, 0x1F, 0b101, 0o17, 1_0.5, 1e3, 2.5e-1
(1, 2), (1,), (), 1, 2
[1, 2,], {'a': 1,}, dict(a=1,)
yes if n > 5 else no if n > 3 else nil
'%' ~ 5 % 3
""".strip().split("\n")

TEMPLATES = r"""
{% for x in list %}{{ loop.index }}/{{ loop.length }}:{{ x }}{% if not loop.last %},{% endif %}{% endfor %}
{% for x in list %}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.depth }}{{ loop.previtem }}{{ loop.nextitem }}|{% endfor %}
{% for x in list %}{{ loop.cycle('a', 'b') }}{% endfor %}
{% for x in [] %}a{% else %}none{% endfor %}
{% for x in list if x > 1 %}{{ x }}{{ loop.length }}{% else %}none{% endfor %}
{% for x in list if x > 5 %}{{ x }}{% else %}none{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k, v in d | dictsort %}{{ k }};{% endfor %}
{% for a, b in list %}{{ a }}{% endfor %}
{% for k in d %}{{ k }},{% endfor %}{% for c in u %}[{{ c }}]{% endfor %}
{% for x in n %}{% endfor %}
{% for x in missing %}x{% else %}empty{% endfor %}
{% for x in list %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{% break %}{% endif %}{% endfor %}
{% for x in list %}{% for y in list %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}
{% for x in list %}{% for y in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}
{% set x = 1 %}{% for i in list %}{% set x = i %}{{ x }}{% endfor %}{{ x }}
{% for i in list %}{{ y }}{% set y = i %}{% endfor %}{{ y }}
{% set ns = namespace(c=0) %}{% for i in list %}{% set ns.c = ns.c + i %}{% endfor %}{{ ns.c }}
{% set ns = namespace() %}{% set ns.x = [1] %}{% set ns.x = ns.x + [2] %}{{ ns.x }}{{ ns.y }}
{% set ns = namespace(found=false) %}{% for i in list if not ns.found %}{{ i }}{% set ns.found = i == 1 %}{% endfor %}
{% set d.x = 1 %}
{% if yes %}{% set z = 1 %}{% endif %}{{ z }}
{% if no %}{% set z = 1 %}{% endif %}{{ z }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}
{% set a, b = list %}
{% set (a, b) = (3, 4) %}{{ a }}{{ b }}
{% set x %}block {{ n }}{% endset %}{{ x }}|{{ x | length }}
{% set x | upper | trim %}  block {{ s }} {% endset %}{{ x }}|
{% set x = 1 %}{% with %}{% set x = 2 %}{{ x }}{% endwith %}{{ x }}
{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% filter upper %}abc {{ s }}{% endfilter %}
{% filter replace('a', 'b') | upper %}aXa{% endfilter %}
{% macro m(a, b=2, c='x') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 5) }}{{ m(b=7, a=3) }}{{ m() }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}
{% macro m(a) %}{{ x }}{{ a }}{% endmacro %}{% set x = 1 %}{{ m(0) }}{% set x = 2 %}{{ m(0) }}
{% macro fact(i) %}{% if i > 1 %}{{ i }}*{{ fact(i - 1) }}{% else %}1{% endif %}{% endmacro %}{{ fact(5) }}
{% macro outer() %}<{{ caller() }}>{% endmacro %}{% call outer() %}in {{ n }}{% endcall %}
{% macro each(xs) %}{% for x in xs %}{{ caller(x) }},{% endfor %}{% endmacro %}{% call(v) each(list) %}{{ v * 2 }}{% endcall %}
{% macro m() %}a{% endmacro %}{{ m() + 'b' }}{{ m() | upper }}{{ m() is string }}
{% macro m(items) -%} {%- for i in items -%} {{ i }} {%- endfor -%} {%- endmacro %}{{ m(list) }}|
{% if n == 1 %}a{% elif n == 7 %}b{% else %}c{% endif %}
{% if missing %}a{% elif nil %}b{% else %}c{% endif %}
{% if missing is defined and missing.x %}a{% endif %}ok
{% raw %}{{ not }} {% a %}{% endraw %}|{% raw -%}  x  {%- endraw %}|
{# a comment {{ n }} #}x{#- trimmed -#}  y
a {#- c -#} b
{% generation %}{{ s }}{% endgeneration %}|{% generation %}
{% set q = 1 %}{% endgeneration %}{{ q }}
{{ d }}{{ {'a': {'b': 1}} }}{{ {"x": "}}"} }}{{ "{{" }}{{ '%}' }}
{{ [1, 2][0] }}{{ {'a': 1}['a'] }}{{ (1, 2)[1] }}{{ "abc"[1] }}{{ 'x'.upper() }}
{{- s -}} x
{{ s
}}
{%- set m = messages -%}{{ m }}
{% for m in people %}{{ m.name }}{{ m['age'] }}{{ m.ok }}{% endfor %}
{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(2, 8, 3) %}{{ i }}{% endfor %}
{% if 'a' in 'abc' and not 'z' in 'abc' %}y{% endif %}
{{ strftime_now('%Y') | length }}
{% set x = [] %}{% for i in list %}{% set x = x + [i] %}{% endfor %}{{ x }}
{% if namespace is callable %}c{% endif %}
{% set loop = 5 %}{% for i in list %}{{ loop.index }}{% endfor %}{{ loop }}
{% if x
""".strip("\n").split("\n")

BROKEN = ["{{", "{%", "{{ }}", "{{ 1 + }}", "{{ (1 }}", "{{ 1) }}", "{% if %}", "{% if 1 %}", "{% endif %}", "{% for x %}{% endfor %}",
          "{% for in y %}{% endfor %}", "{% set %}", "{% set 1 = 2 %}", "{% set x = %}", "{% nope %}", "{{ x | }}", "{{ x | nope }}",
          "{{ x is nope }}", "{{ x is }}", "{{ 'a }}", "{{ a b }}", "{# open", "{% raw %}open", "{% macro %}{% endmacro %}",
          "{% macro m(a, %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ a.}}", "{{ a[ }}", "{{ a[1 }}", "{{ {1} }}",
          "{{ {1:} }}", "{{ [1 }}", "{{ f(a=1, 2) }}", "{% else %}", "{% break %}", "{% for x in y %}{% endif %}", "{{ 1 is defined is none }}",
          "{{ $x }}", "{{ a ? b : c }}", "{{ a && b }}", "{% if 1 %}{% else %}{% elif 2 %}{% endif %}", "{{ 'a' 'b' 1 }}", "{{ not }}"]


def whitespace_templates():
    """Every sign on both sides of a tag, in front of and behind text with and without line ends."""
    tags = [("{%", "set q = 1", "%}"), ("{{", "n", "}}"), ("{#", "c", "#}")]
    for (begin, body, end), left, right in itertools.product(tags, ["", "-", "+"], ["", "-", "+"]):
        if right == "+" and end == "}}":
            continue
        tag = f"{begin}{left} {body} {right}{end}"
        for before, behind in itertools.product(["", "a", "a ", "a\n", "a\n  ", " \t"], ["", "b", " b", "\nb", "\n\n  b", "  \n"]):
            yield before + tag + behind
    for left, right in itertools.product(["", "-", "+"], repeat=2):
        yield f"a \n  {{%{left} if yes {right}%}} \n x \n  {{%{left} endif {right}%}} \n b\n"
        yield f"  {{% for i in list %}}\n  {{{{{left} i {right if right != '+' else ''}}}}}\n  {{% endfor %}}\n"
        yield f"\n{{%{left} raw %}} \n x {{%{left} endraw {right}%}}\n y"
    yield from ["a\n", "a\n\n", "\n", "\r\na\r\n{{ n }}\r\n", "a\r{% if yes %}\rb{% endif %}\r", "{{ '\r\n' }}x", "{%- if yes -%}\n\n a \n\n{%- endif -%}\n"]


def sources():
    for line in EXPRESSIONS:
        yield "{{ " + line + " }}"
    yield from TEMPLATES
    yield from BROKEN
    yield from whitespace_templates()
    for fragment in FRAGMENTS:  # as text, and as a string
        yield fragment
        yield "{{ " + json.dumps(fragment, ensure_ascii=max(fragment) < "\U00010000") + " | tojson }}"


def expectation(source):
    case = {"source": source, "variables": VARIABLES}
    try:
        rendered, _ = chat_template_utils.render_jinja_template([[]], chat_template=source, **VARIABLES)
        return {**case, "text": rendered[0]}
    except Exception as error:  # whatever a template does wrong
        return {**case, "error": str(error)}


def main():
    with open(pathlib.Path(sys.argv[2]) / "cases.jsonl", "w") as lines:
        for source in sources():
            lines.write(json.dumps(expectation(source)) + "\n")


if __name__ == "__main__":
    main()
