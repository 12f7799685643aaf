"""What transformers' Jinja makes of small templates, for src/text/jinja_test.cc.

    python3 -m tests.oracles.jinja_cases all FOLDER

writes FOLDER/cases.jsonl: {"source", "variables"} and "text", or "error" where rendering or compiling fails.
"""

import itertools
import json
import pathlib
import random
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
people | selectattr('age', '==', 30) | map(attribute='name') | list, people | rejectattr('age', '>=', 30) | list | length
list | select('>', 1) | list, list | select('in', [1, 3]) | list, list | reject('lt', 2) | list
(words | map('upper')) is iterable, (words | map('upper')) is sequence, words | select is string
words | map('upper') | length
(words | map('upper'))[0] is defined
'yes' if [] | select else 'no', 'yes' if [] | map('upper') else 'no', 'yes' if list | reverse else 'no'
words | map('upper') | first, words | map('upper') | join, words | map('upper') | sort
words | map('upper') | last
list | reverse | first, list | reverse | list | last, d | reverse | list
list | reverse | tojson
words | batch(2) | list, words | batch(3, 'x') | list, [] | batch(2) | list, words | batch(2) | map('join') | list
words | slice(3) | list, words | slice(3, 'x') | list, list | slice(2) | list | length
words | slice(0) | list
people | groupby('age'), people | groupby('name') | map(attribute='grouper') | list, (people | groupby('age') | first).list
words | groupby(0) | map(attribute=0) | list, people | groupby('ok', case_sensitive=true) | length
people | groupby('deep.x', default=[]) | length
people | sort(attribute='age,name') | map(attribute='name') | list, people | sort(attribute='age,name', reverse=true) | map(attribute='name') | list
d | attr('b') is defined, d | attr('items') is callable, s | attr('upper') is callable
range(3), range(1, 9, 2), range(0), range(5)[2], range(5)[-1], range(5)[1:3] | list, 3 in range(5), range(3) | length
range(3) | tojson
range(3) == range(3), range(3) == [0, 1, 2], range(3) is sequence, range(3) | list == [0, 1, 2]
range(3) + [1]
d.keys()[0] is defined, d.keys() | first, d.items() | list | last, d.values() | length
d.keys() + [1]
dict([('a', 1), ['b', 2]]), dict({'x': 1}, **{'y': 2}), dict([])
dict([1])
namespace([('a', 1)]).a, namespace(**{'q': 5}).q
{(1, 2): 'x', (1, 3): 'y'}[(1, 2)], {(1, 2): 'x'}[1, 2]
{([1], 2): 'x'}
s[1, 2] is defined
'%s is %d' % ('x', 5), '%5d|%-5d|%05d|%+d' % (1, 2, 3, 4), '%.2f %e %g %G' % (1.5, 1234.5, 0.00001, 1e20), '%x %X %o %#x' % (255, 255, 8, 255)
'%(a)s-%(b)05.1f' % {'a': 1, 'b': 2.25}, '%%' % (), '%s' % [1, 2], '%r %a' % ("it's", 'é'), '%c%c' % ('a', 98), '%5s|%-5s|%.2s' % ('a', 'b', 'cdef')
'%s %s' % (1,)
'%s' % (1, 2)
'%d' % 'x'
'%d' % 3.99, '%i' % true, '%5.1f|%-8.3e|' % (2.25, 12345.678), '%*d' % (5, 3), '%s' % nil, '%s' % {'a': 1}, '%g' % 100000.0, '%g' % 1000000.0, '%#g' % 1.0
'%z' % 1
'{} {}'.format(1, 'x'), '{0}{1}{0}'.format('a', 'b'), '{a} {b!r}'.format(a=1, b='x'), '{:>5}|{:<5}|{:^5}|{:*^7}'.format(1, 'a', 'b', 'c')
'{:5.2f} {:+d} {:,} {:_} {:x} {:#b} {:e} {:%} {:g}'.format(1.255, 5, 1234567, 1234567, 255, 5, 12345.678, 0.256, 1e-7)
'{:05d} {:<05d} {:.3} {:10.3f}| {!s:>6} {!r}'.format(42, 42, 'abcdef', 3.14159, 'ab', 'q')
'{0.name} {0[age]} {1[0]} {p[name]}'.format(people[0], list, p=people[1]), '{{}} {{{}}}'.format(5)
'{:{}}|'.format('a', 5), '{:{w}.{p}f}'.format(2.5, w=8, p=2), '{}'.format(none), '{}'.format(true), '{:d}'.format(true), '{}'.format([1, 'a'])
'{} {0}'.format(1, 2)
'{'.format(1)
'}'.format(1)
'{2}'.format(1)
'{x}'.format(1)
'{:d}'.format('a')
'{:s}'.format(1)
'{:,.2f} {:010.1f} {:+.1e} {: d}'.format(1234567.891, -3.14159, 12345.678, 5), '{:08,d}'.format(1234), '{:c}'.format(65), '{:.0f} {:.0f}'.format(0.5, 1.5)
'{a[b]}'.format_map({'a': {'b': 7}})
'%s, %s!' | format('Hi', 'you'), '%(a)s' | format(a=1)
s | center(20), 'abc' | center(10), 'ab'.center(7), 'ab'.center(6, '*'), 'ab'.ljust(5, '.'), 'ab'.rjust(5), 'abc'.center(2), '5'.zfill(3), '-5'.zfill(4), 'a'.zfill(0)
'a-b-c'.partition('-'), 'a-b-c'.rpartition('-'), 'abc'.partition('-'), 'abc'.rpartition('-')
'a\tb\t'.expandtabs(), 'a\tb'.expandtabs(4), 'aB ß'.swapcase(), 'Straße ΑΣ ﬁ'.casefold(), 'ǆ'.title(), 'ǅ'.swapcase()
'abc'.isalpha(), 'ab1'.isalnum(), '²'.isdigit(), '½'.isnumeric(), '一'.isnumeric(), '٣'.isdecimal(), 'ABC1'.isupper(), 'abc'.islower(), 'Ab Cd'.istitle(), 'ab'.istitle(), 'é'.isascii(), 'a\n'.isprintable(), 'a_1'.isidentifier(), '1a'.isidentifier(), 'ⅷ'.islower(), 'Ⓐ'.isupper(), ''.isupper(), 'ǅ'.istitle()
'banana'.find('a', 2), 'banana'.find('a', 2, 3), 'banana'.count('a', 2), 'banana'.rfind('a', 0, 5), 'banana'.startswith('n', 2), 'banana'.endswith('n', 0, 3), 'banana'.index('n', -2), ''.find('', 1), 'abc'.find('', 3), 'abc'.count('', 1), 'abc'.startswith('', 4)
list.index(2, 1), [1, 2, 1].index(1, 1), [1, 2].copy() == [1, 2]
[1].index(2)
(1, 2).index(2), (1, 1).count(1), (1, 2) | length
(1, 2).copy()
s | truncate(5), s | truncate(5, true), s | truncate(8, leeway=0), s | truncate(8, false, '~', 0), 'short' | truncate(5), 'abc def ghi jkl' | truncate(9, end='', leeway=0)
s | truncate(2)
s | wordcount, u | wordcount, 'a_b c-d 1²' | wordcount, '' | wordcount
d | pprint, list | pprint, 'x' | pprint, 5 | pprint
1 | filesizeformat, 999 | filesizeformat, 1000 | filesizeformat, 1500 | filesizeformat, 1024 | filesizeformat(true), 123456789 | filesizeformat, '5000' | filesizeformat, 1e30 | filesizeformat, 2.5 | filesizeformat
'x' | filesizeformat
html | e, html | escape, (html | e) is escaped, html is escaped, (html | e) | e, (html | e) | forceescape, html | forceescape, (html | e) + '<'
'a b/c?é&=' | urlencode, {'a': 'x y', 'b/': 1} | urlencode, [('k', 'v w')] | urlencode, 5 | urlencode, '' | urlencode
{'a': 1, 'b': none, 'c': '<'} | xmlattr, {'a': 1} | xmlattr(false), {} | xmlattr
{'a b': 1} | xmlattr
html | striptags, '<p>a  <b>b</b>\n<!-- <i> -->c</p> d' | striptags, 'a < b <c' | striptags, '<!-- never' | striptags, 5 | striptags, '&lt;b&gt; &amp;amp; &quot;x&#39; &apos;&nbsp;y &#x41;&#65 &#128; &#0; &#xD800; &#x110000; &#1; &#; & &; &amp' | striptags, '' | striptags
(html | e) | striptags
'the quick brown-fox, semi-detached jumps -- over the lazy--dog' | wordwrap(10), s | wordwrap(3), s | wordwrap(5, false), 'a-b c-d' | wordwrap(2), '' | wordwrap, '\n\nx' | wordwrap, 'ab' | wordwrap(1, wrapstring='|')
'extraordinary-long-hyphenated-word x' | wordwrap(14), 'extraordinary-long-hyphenated-word x' | wordwrap(14, break_on_hyphens=false), '--abc-def----' | wordwrap(4), lines | wordwrap(1), u | wordwrap(4), spaced | wordwrap(2)
5 | wordwrap
s | wordwrap(0)
'ff' | int(0, 16), '0xff' | int(0, 16), '0b11' | int(base=2), '0o17' | int(base=8), 'zz' | int(7, 36), '1_000' | int, '0x1f' | int(0, 0), '12' | int(base=8), '-0x1f' | int(base=16)
'upper' is filter, 'nope' is filter, 'odd' is test, 'nope' is test, 5 is sameas(5) or true
[1, 2, 3] is eq [1, 2, 3], (1, 2) == [1, 2], {'a': 1} == {'a': 1.0}, {'a': 1, 'b': 2} == {'b': 2, 'a': 1}
[[1, 'a'], [1, 'b']] | sort, [[2], [1, 5]] | sort | first, [(1, 2)] | tojson
cycler('a', 'b').next(), cycler(1, 2).current
cycler()
joiner()() ~ '|', joiner is callable
words | map('replace', 'p', 'P') | list, words | map('default', 'x') | list, list | map('string') | list, words | map('length') | sum
words | map(attribute='0') | list, people | map(attribute='name', default='q') | list
words | map(attribute='0', nope=1) | list
words | map | list
dict(**{'a': 1, 'b': 2})
dict(a=1, **{'a': 2})
'{}{}'.format(*[1, 2]), '{a}'.format(**{'a': 5}), range(*[1, 4]) | list
'x'.join(*[['a', 'b']])
missing is filter
none | length
'abc' | first, '' | first, '' | last | default('z')
'a' ~ (1, 2) ~ {'k': [none, true]}
1.5 | round(-1), 15 | round(-1), 25 | round(-1), 2.675 | round(2), 1e20 | round(2), 0.5 | round, -0.4 | round
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
{% for x in nested recursive %}{% if x is iterable and x is not string %}[{{ loop(x) }}]{% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}
{% for x in nested recursive %}{{ loop.depth0 }}{{ loop.index }}{% if x is iterable and x is not string %}({{ loop(x) }}){% endif %}{% else %}none{% endfor %}
{% for x in list %}{{ loop(x) }}{% endfor %}
{% for x in list %}{% for y in list %}{{ loop.depth }}{% endfor %}{% endfor %}
{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }}{% endfor %}|{% for p in people %}{% if loop.changed(p.age, p.ok) %}{{ p.name }}{% endif %}{% endfor %}
{% for x in list %}{{ loop.previtem | default('-') }}{{ loop.nextitem | default('-') }}{% endfor %}
{% for x in words | map('upper') %}{{ loop.length }}{{ x }}{% endfor %}
{% set m = words | map('upper') %}{{ m | first }}{{ m | list }}{{ m | list }}
{% set m = words | select %}{{ 'fig' in m }}{{ m | list }}
{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}{{ m() }}{{ m(a=1, b=2) }}
{% macro m(a) %}{{ a }}{{ kwargs }}{% endmacro %}{{ m(1, a=2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}
{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 1, 'b': 2}) }}{{ m(1, **{'b': 2}) }}{{ m(*[1], b=3) }}
{% macro m() %}{{ varargs | length }}{{ kwargs.keys() | list }}{% endmacro %}{{ m(*list, **d) }}
{% macro m(a, caller=none) %}{{ a }}{% if caller %}{{ caller() }}{% endif %}{% endmacro %}{{ m(1) }}{% call m(2) %}x{% endcall %}
{% macro m(caller) %}{{ caller() }}{% endmacro %}{{ m(1) }}
{% macro m() %}{{ caller is defined }}{% if caller %}{{ caller() }}{% endif %}{% endmacro %}{{ m() }}{% call m() %}y{% endcall %}
{% macro m() %}{{ caller(1, 2, z=3) }}{% endmacro %}{% call(a) m() %}{{ a }}{{ varargs }}{{ kwargs }}{% endcall %}
{% macro m(a, b=1) %}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.catch_kwargs }}{{ m.catch_varargs }}{{ m.caller }}
{% call m() %}x{% endcall %}
{% call 5 %}x{% endcall %}
{% macro m(varargs) %}{{ varargs }}{% endmacro %}{{ m(1) }}
{% for (a, b) in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for i, in [(1,), (2,)] %}{{ i }}{% endfor %}
{% set a, (b, c) = 1, [2, 3] %}{{ a }}{{ b }}{{ c }}
{% set ns = namespace() %}{% set ns.a, b = 1, 2 %}{{ ns.a }}{{ b }}
{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}
{% set ns = namespace() %}{% set ns.a %}x{{ n }}{% endset %}{{ ns.a }}
{% set ns = namespace(a=1) %}{{ ns['a'] }}{{ ns.a is defined }}{{ ns.b is defined }}{{ ns | attr('a') }}
{% set () = [] %}ok
{% set c = cycler('a', 'b', 'c') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}
{% set j = joiner('; ') %}{% for x in list %}{{ j() }}{{ x }}{% endfor %}
{% block a %}x{{ n }}{% endblock %}y{% block b %}{% set q = 1 %}{{ q }}{% endblock b %}{{ q }}
{% set q = 3 %}{% block a %}{{ q }}{% endblock %}{% for i in list %}{% block c %}{{ i }}{% endblock %}{% endfor %}
{% block a %}{% endblock %}{% block a %}{% endblock %}
{% print n %}{% print n, s %}{% print %}
{% autoescape false %}{{ html }}{% endautoescape %}
{% do list.append(1) %}
{% include 'x' %}
{% extends 'x' %}
{% import 'x' as y %}
{% from 'x' import y %}
{% filter upper | replace('A', 'b') %}a{% for x in list %}{{ x }}{% endfor %}{% endfilter %}
{% filter indent(2) %}a
b{% endfilter %}
{% set x | default('z') | upper %}{% endset %}{{ x }}|
{% set x = missing or 'q' %}{{ x }}{% set y = x if x is defined else none %}{{ y }}
{% with %}{% set z = 1 %}{% endwith %}{{ z }}{% with a = 1, b = a %}{{ b }}{% endwith %}
{% with a, b = (1, 2) %}{{ a }}{{ b }}{% endwith %}
{% if n is odd and n is not even %}{{ n is divisibleby 7 }}{% endif %}
{% for x in list if loop.index %}{% endfor %}
{% for x in list %}{% if loop.first %}{% continue %}{% endif %}{{ loop.index }}{% endfor %}
{% for k, v in d | items %}{{ k }},{% endfor %}{% for k, v in d.items() %}{{ loop.index }}{{ loop.last }}{% endfor %}
{% for x in range(5) if x is odd %}{{ loop.index }}{{ x }}{{ loop.length }}{% endfor %}
{% for x in [] %}{% else %}{% set e = 1 %}{{ e }}{% endfor %}{{ e }}
{%- for x in list -%} {{ x }} {%- if not loop.last -%} , {%- endif -%} {%- endfor -%}
{% generation %}{% for x in list %}{{ x }}{% endfor %}{% endgeneration %}
{% for x in list %}{% generation %}{% break %}{% endgeneration %}{% endfor %}
{% macro a() %}{% macro b() %}in{% endmacro %}{{ b() }}{% endmacro %}{{ a() }}{{ b is defined }}
{% macro a(x) %}{% set y = x %}{{ y }}{% endmacro %}{{ a(1) }}{{ y }}{% set f = a %}{{ f(2) }}
{% if x
""".strip("\n").split("\n")

BROKEN = ["{{", "{%", "{{ }}", "{{ 1 + }}", "{{ (1 }}", "{{ 1) }}", "{% if %}", "{% if 1 %}", "{% endif %}", "{% for x %}{% endfor %}",
          "{% for in y %}{% endfor %}", "{% set %}", "{% set 1 = 2 %}", "{% set x = %}", "{% nope %}", "{{ x | }}", "{{ x | nope }}",
          "{{ x is nope }}", "{{ x is }}", "{{ 'a }}", "{{ a b }}", "{# open", "{% raw %}open", "{% macro %}{% endmacro %}",
          "{% macro m(a, %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ a.}}", "{{ a[ }}", "{{ a[1 }}", "{{ {1} }}",
          "{{ {1:} }}", "{{ [1 }}", "{{ f(a=1, 2) }}", "{% else %}", "{% break %}", "{% for x in y %}{% endif %}", "{{ 1 is defined is none }}",
          "{{ $x }}", "{{ a ? b : c }}", "{{ a && b }}", "{% if 1 %}{% else %}{% elif 2 %}{% endif %}", "{{ 'a' 'b' 1 }}", "{{ not }}",
          "{{ f(*a, *b) }}", "{{ f(**a, b) }}", "{{ f(**a, *b) }}", "{{ f(*a, b) }}", "{{ a[] }}", "{% block %}{% endblock %}", "{% for a.b in c %}{% endfor %}",
          "{% set a.b.c = 1 %}", "{% set a[0] = 1 %}", "{% set (a.b, c) = 1, 2 %}", "{% for loop in x %}{% endfor %}", "{% for a, loop in x %}{% endfor %}"]


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


def wrapped_texts():
    rng = random.Random(9)
    for _ in range(200):
        text = "".join(rng.choices(["a", "b", "é", "1", "-", "--", " ", "_", "!", ",", "(", "\u00a0", "word", "x-y"], k=rng.randint(0, 30)))
        options = "".join(rng.choice(["", f", {option}=false"]) for option in ("break_long_words", "break_on_hyphens"))
        yield "{{ " + json.dumps(text) + f" | wordwrap({rng.randint(1, 12)}{options}) | tojson }}}}"


def sources():
    yield from wrapped_texts()
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
