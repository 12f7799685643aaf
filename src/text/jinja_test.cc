// The template language against transformers' own, bounds on what a template may cost, and which bytes count as a
// user's.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"
#include "text/chat_template.h"
#include "text/oracle.h"

namespace graft::text {
namespace {

using nlohmann::ordered_json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::read_lines;
using testing::run_oracle;
using ::testing::StartsWith;

Result<RenderedChat> render(const std::string& source, const ordered_json& messages = ordered_json::array(),
                            const ordered_json& variables = ordered_json::object()) {
  GRAFT_TRY(const auto compiled, ChatTemplate::compile(source));
  ChatTemplateOptions options;
  options.extra = variables;
  return compiled->render(messages, options);
}

std::string error_of(const std::string& source) {
  const auto rendered = render(source);
  return rendered.ok() ? "no error" : rendered.error().message;
}

TEST(Jinja, IsThatOfTransformers) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.jinja_cases", "all", folder.path()));
  size_t count = 0;
  for (const auto& expected : read_lines(folder / "cases.jsonl")) {
    const auto source = expected["source"].get<std::string>();
    SCOPED_TRACE(source);
    const auto rendered = render(source, ordered_json::array(), expected["variables"]);
    ++count;
    if (expected.contains("error")) {
      EXPECT_FALSE(rendered.ok()) << "transformers: " << expected["error"] << "\nhere: " << rendered->text;
      continue;
    }
    if (!rendered.ok()) {
      ADD_FAILURE() << rendered.error().message << "\ntransformers: " << expected["text"];
      continue;
    }
    EXPECT_EQ(rendered->text, expected["text"].get<std::string>());
    EXPECT_TRUE(rendered->content.empty()) << "nothing came from a message";
  }
  EXPECT_GE(count, 1000U);
}

// Random templates of tests/oracles/template_grammar.py.
void compare_generated(const std::string& seed_and_count) {
  TestDirectory folder;
  ASSERT_NO_FATAL_FAILURE(run_oracle("tests.oracles.template_grammar", seed_and_count, folder.path()));
  const auto variables = ordered_json::parse(testing::read_text(folder / "variables.json"));
  size_t rendered_count = 0;
  for (const auto& expected : read_lines(folder / "cases.jsonl")) {
    const auto source = expected["source"].get<std::string>();
    const auto rendered = render(source, ordered_json::array(), variables);
    if (expected.contains("error")) {
      EXPECT_FALSE(rendered.ok()) << source << "\ntransformers: " << expected["error"] << "\nhere: " << rendered->text;
      continue;
    }
    ++rendered_count;
    if (!rendered.ok()) {
      ADD_FAILURE() << source << "\n" << rendered.error().message << "\ntransformers: " << expected["text"];
      continue;
    }
    EXPECT_EQ(rendered->text, expected["text"].get<std::string>()) << source;
  }
  EXPECT_GT(rendered_count, 100U);
}

TEST(Jinja, RendersGeneratedTemplatesAsTransformersDoes) { compare_generated("1:500"); }

TEST(Jinja, SlowRendersManyGeneratedTemplatesAsTransformersDoes) { compare_generated("1000000:15000"); }

TEST(Jinja, ErrorsNameTheLine) {
  EXPECT_EQ(error_of("a\n{{ 1 + }}"), "chat template, line 2: expected an expression, found '}}'");
  EXPECT_EQ(error_of("{% if 1 %}\n\nx"), "chat template, line 3: missing '{% endif %}'");
  EXPECT_EQ(error_of("\n\n{% include 'x' %}"),
            "chat template, line 3: tag 'include' is refused: a chat template is one file");
  EXPECT_EQ(error_of("{% do x.append(1) %}"), "chat template, line 1: tag 'do' is not part of chat templates");
  EXPECT_EQ(error_of("\n{{ x | urlize }}"), "chat template, line 2: filter 'urlize' is refused: it is for web pages");
  EXPECT_EQ(error_of("\n{{ x | nope }}"), "chat template, line 2: filter 'nope' is not supported");
  EXPECT_EQ(error_of("{% for x in [1] recursive %}\n{{ loop(1) }}{% endfor %}"),
            "chat template, line 2: 'int' object is not iterable");
  EXPECT_EQ(error_of("x\n{{ y.z }}"), "chat template, line 2: 'y' is undefined");
  EXPECT_EQ(error_of("x\n{{ {}.z.w }}"), "chat template, line 2: 'dict object' has no attribute 'z'");
  EXPECT_EQ(error_of("{{ raise_exception('just this') }}"), "just this");
  EXPECT_EQ(ChatTemplate::compile("\xFF").error().message, "chat template: not valid UTF-8");
}

TEST(Jinja, IsBounded) {
  EXPECT_THAT(error_of("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"),
              HasSubstr("steps"));
  EXPECT_THAT(
      error_of("{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"),
      HasSubstr("bytes"));
  EXPECT_THAT(
      error_of("{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"),
      HasSubstr("items"));
  EXPECT_THAT(error_of("{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}"),
              HasSubstr("nested deeper"));
  EXPECT_THAT(error_of("{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}"), HasSubstr("nested deeper"));
  EXPECT_THAT(error_of("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"), HasSubstr("nested deeper"));
  EXPECT_THAT(error_of("{% macro m() %}{{ caller is defined }}{% call m() %}{% endcall %}{% endmacro %}{{ m() }}"),
              HasSubstr("nested deeper"));
  EXPECT_THAT(
      error_of("{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"),
      HasSubstr("items of lists"));
  EXPECT_THAT(error_of("{% set ns = namespace(x=none) %}{% for i in range(400) %}{% set ns = namespace(x=ns) %}"
                       "{% endfor %}{% set n1 = namespace() %}{% set n1.a = namespace() %}{{ n1 }}"),
              HasSubstr("no error"));
  EXPECT_THAT(error_of("{{ '%*d' % (1000000000, 1) }}"), HasSubstr("too large"));
  EXPECT_THAT(error_of("{{ '{:1000000000}'.format(1) }}"), HasSubstr("larger than"));
  EXPECT_THAT(error_of("{{ 'x'.center(1000000000) }}"), HasSubstr("larger than"));
  EXPECT_THAT(error_of("{{ [1] | batch(1000000000, 1) | list }}"), HasSubstr("larger than"));
  EXPECT_THAT(error_of("{{ [1] | slice(1000000000) | list }}"), HasSubstr("slices"));
  EXPECT_THAT(error_of("{% set a = 'x' * 30000000 %}{% set b = 'x' * 30000000 %}{% for i in range(100000) %}"
                       "{% if a == b and a in b %}{% endif %}{% endfor %}"),
              HasSubstr("steps"));
  EXPECT_THAT(error_of("{{ 'x' * 1000000000 }}"), HasSubstr("bytes"));
  EXPECT_THAT(error_of("{% for i in range(1000) %}{{ 'x' * 1000000 }}{% endfor %}"), HasSubstr("bytes"));
  EXPECT_THAT(error_of("{{ 9223372036854775807 + 1 }}"), HasSubstr("64 bits"));
  EXPECT_THAT(error_of("{{ -9223372036854775807 - 5 }}"), HasSubstr("64 bits"));
  EXPECT_THAT(error_of("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}"),
              HasSubstr("nested deeper"));
  EXPECT_THAT(error_of("{{ " + std::string(5000, '[') + std::string(5000, ']') + " }}"), HasSubstr("nested deeper"));
  std::string sum = "1";
  for (int i = 0; i < 5000; ++i) sum += "+1";
  EXPECT_THAT(error_of("{{ " + sum + " }}"), HasSubstr("too many operators"));
  std::string nots;
  std::string ifs;
  for (int i = 0; i < 5000; ++i) {
    nots += "not ";
    ifs += "{% if 1 %}";
  }
  EXPECT_THAT(error_of("{{ " + nots + "1 }}"), HasSubstr("nested deeper"));
  EXPECT_THAT(error_of(ifs), HasSubstr("nested deeper"));
  ordered_json deep = "x";
  for (int i = 0; i < 500; ++i) deep = ordered_json::array({deep});
  EXPECT_THAT(render("", ordered_json::array({{{"role", "user"}, {"content", deep}}})).error().message,
              HasSubstr("nested deeper"));
}

// Namespaces and macros can hold each other; a leak here is for the address sanitizer to find.
TEST(Jinja, FreesWhatHoldsItself) {
  const auto rendered = render(
      "{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.list = [ns] %}{% macro m() %}{{ ns.x }}{% endmacro %}"
      "{% set ns.m = m %}{% set ns.x = 1 %}{{ ns.me.me.x }}{{ ns.m() }}");
  ASSERT_TRUE(rendered.ok()) << rendered.error().message;
  EXPECT_EQ(rendered->text, "11");
}

TEST(Jinja, RefusesMessagesThatAreNone) {
  EXPECT_EQ(render("", "text").error().message, "messages: expected an array");
  EXPECT_EQ(render("", ordered_json::array({1})).error().message, "messages: expected an array of objects");
  EXPECT_THAT(render("", ordered_json::array({{{"n", 18446744073709551615U}}})).error().message, HasSubstr("64 bits"));
  EXPECT_THAT(render("", ordered_json::array({{{"content", "\xFF"}}})).error().message, HasSubstr("UTF-8"));
}

// What of the text came from a user, in brackets.
std::string marked(const std::string& source, const std::string& content) {
  const auto rendered =
      render(source, ordered_json::array({{{"role", "user"}, {"content", content}}}), {{"bos_token", "<s>"}});
  if (!rendered.ok()) return rendered.error().message;
  std::string shown;
  size_t done = 0;
  for (const ProtectedSpan& span : rendered->content) {
    shown += rendered->text.substr(done, span.begin - done) + "[" +
             rendered->text.substr(span.begin, span.end - span.begin) + "]";
    done = span.end;
  }
  return shown + rendered->text.substr(done);
}

TEST(ContentSpans, FollowTextThroughEveryOperation) {
  const auto m = [](const std::string& expression, const std::string& content) {
    return marked("{% set c = messages[0].content %}{{ " + expression + " }}", content);
  };
  EXPECT_EQ(m("c", "hi"), "[hi]");
  EXPECT_EQ(m("'<a>' + c + '<b>'", "hi"), "<a>[hi]<b>");
  EXPECT_EQ(m("'<a>' ~ c ~ bos_token", "hi"), "<a>[hi]<s>");
  EXPECT_EQ(m("c ~ c", "hi"), "[hihi]");
  EXPECT_EQ(m("'' ~ c", ""), "");
  EXPECT_EQ(m("('  ' + c + ' ') | trim", " hi "), "[hi]");
  EXPECT_EQ(m("c[1:3] + c[0]", "abcd"), "[bca]");
  EXPECT_EQ(m("('x' + c)[::-1]", "ab"), "[ba]x");
  EXPECT_EQ(m("c.split(',') | join('|')", "a,b"), "[a]|[b]");
  EXPECT_EQ(m("(c ~ '-x-' ~ c).replace('-', '+')", "a-"), "[a]++x+[a]+");
  EXPECT_EQ(m("'a,b'.replace(',', c)", "!"), "a[!]b");
  EXPECT_EQ(m("('s' ~ c) | upper", "\xC3\x9F"), "S[SS]");
  EXPECT_EQ(m("('s' ~ c ~ 's').title()", "ab"), "S[ab]s");
  EXPECT_EQ(m("[c, 'x'] | tojson", "a\"b\n"), R"(["[a\"b\n]", "x"])");
  EXPECT_EQ(m("[c, 'x']", "it's"), "[\"[it's]\", 'x']");
  EXPECT_EQ(m("{c: 1} | tojson", "k"), R"({"[k]": 1})");
  EXPECT_EQ(m("('a\\n' ~ c) | indent(2)", "b\nc"), "a\n  [b]\n  [c]");
  EXPECT_EQ(m("c | first ~ c | last ~ (c | reverse)", "xyz"), "[xzzyx]");
  EXPECT_EQ(m("c == 'hi' and 'h' in c and c.startswith('h')", "hi"), "True");
  EXPECT_EQ(m("'<|' ~ messages[0].role ~ '|>'", "x"), "<|user|>") << "usual roles are part of the template's tokens";
  EXPECT_EQ(m("c | length ~ '/' ~ (c | int)", "12"), "2/12");
  EXPECT_EQ(m("(c | safe) + '<'", "<"), "[<]&lt;");
}

TEST(ContentSpans, FollowTextThroughStatements) {
  EXPECT_EQ(marked("{% for m in messages %}<{{ m['role'] }}>{{ m.content }}{% endfor %}", "hi"), "<user>[hi]");
  EXPECT_EQ(marked("{% set x %}<{{ messages[0].content }}>{% endset %}{{ x }}{{ x | upper }}", "a"), "<[a]><[A]>");
  EXPECT_EQ(marked("{% macro f(x) %}({{ x }}){% endmacro %}{{ f(messages[0].content) }}", "a"), "([a])");
  EXPECT_EQ(marked("{% filter upper %}x{{ messages[0].content }}{% endfilter %}", "a"), "X[A]");
  EXPECT_EQ(marked("{% set ns = namespace() %}{% set ns.c = messages[0].content %}{{ ns.c }}.", "a"), "[a].");
  EXPECT_EQ(marked("{% for c in messages[0].content %}{{ c }}-{% endfor %}", "ab"), "[a]-[b]-");
  EXPECT_EQ(marked("{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "a"),
            "[role]=user;[content]=[a];");
  EXPECT_EQ(marked("{% call(x) f() %}{% endcall %}", "a"), "chat template, line 1: 'f' is undefined");
}

TEST(ContentSpans, FollowTextThroughFormatsAndTheLessUsualMethods) {
  const auto m = [](const std::string& expression, const std::string& content) {
    return marked("{% set c = messages[0].content %}{{ " + expression + " }}", content);
  };
  EXPECT_EQ(m("'<%s|%5s>' % (c, c)", "ab"), "<[ab]|   [ab]>");
  EXPECT_EQ(m("'%(k)r' % {'k': c}", "ab"), "'[ab]'");
  EXPECT_EQ(m("'{}-{:>4}-{x!r}'.format(c, c, x=c) ~ '{0[0]}'.format(c)", "ab"), "[ab]-  [ab]-'[ab]'[a]");
  EXPECT_EQ(m("c % ('x',)", "a%s"), "[a]x");
  EXPECT_EQ(m("c.format('x')", "{}!"), "x[!]");
  EXPECT_EQ(m("c | format(1)", "%d;"), "1[;]");
  EXPECT_EQ(m("c.center(6, '*') ~ c.ljust(3) ~ c.zfill(3)", "ab"), "**[ab]**[ab] 0[ab]");
  EXPECT_EQ(m("'x'.center(3, c)", "-"), "[-]x[-]");
  EXPECT_EQ(m("c.partition('-') | join('+')", "a-b"), "[a]+-+[b]");
  EXPECT_EQ(m("'a-b'.partition(c) | join", "-"), "a[-]b");
  EXPECT_EQ(m("(c ~ 'XY').swapcase() ~ c.casefold()", "aB"), "[Ab]xy[ab]");
  EXPECT_EQ(m("('x\t' ~ c).expandtabs(4)", "a\tb"), "x   [a   b]");
  EXPECT_EQ(m("c | e ~ (c | urlencode)", "<"), "[&lt;%3C]");
  EXPECT_EQ(m("{c: c} | xmlattr", "k"), " [k]=\"[k]\"");
  EXPECT_EQ(m("('aaa ' ~ c ~ ' zzz') | truncate(9, leeway=0)", "b c"), "aaa [b]...");
  EXPECT_EQ(m("[c, 'q'] | pprint", "a"), "['[a]', 'q']");
  EXPECT_EQ(m("(c | groupby(0) | first).grouper", "a"), "[a]");
  EXPECT_EQ(m("c | batch(2) | map('join') | join('-')", "abc"), "[ab]-[c]");
  EXPECT_EQ(m("dict(**{c: 1}).keys() | join", "a"), "[a]");
  EXPECT_EQ(m("strftime_now(c)", "x"), "[x]");
  EXPECT_EQ(m("c.splitlines() | map('upper') | sort | join(c[0])", "b\na"), "[AbB]");
  EXPECT_EQ(marked("{% macro m() %}{{ kwargs.keys() | join }}{{ varargs }}{% endmacro %}{{ m(**messages[0]) }}", "a"),
            "[rolecontent]()");
  EXPECT_EQ(
      marked("{% for x in [[messages[0].content]] recursive %}{% if x is string %}{{ x }}{% else %}<{{ loop(x) }}>"
             "{% endif %}{% endfor %}",
             "a"),
      "<[a]>");
  EXPECT_EQ(
      marked("{% set j = joiner(messages[0].content) %}{{ j() }}{{ j() }}{% set y = cycler(messages[0].content) %}"
             "{{ y.next() }}",
             "a"),
      "[aa]");
}

std::string generated(const std::string& source) {
  const auto rendered = render(source, ordered_json::array({{{"role", "user"}, {"content", "hi"}}}));
  if (!rendered.ok()) return rendered.error().message;
  std::string shown;
  size_t done = 0;
  for (const ProtectedSpan& span : rendered->generated) {
    shown += rendered->text.substr(done, span.begin - done) + "[" +
             rendered->text.substr(span.begin, span.end - span.begin) + "]";
    done = span.end;
  }
  return shown + rendered->text.substr(done) + (rendered->marks_generation ? "" : " (no blocks)");
}

TEST(GenerationSpans, FollowWhatTheBlockPrints) {
  EXPECT_EQ(generated("a{{ messages[0].content }}"), "ahi (no blocks)");
  EXPECT_EQ(generated("a{% generation %}b{{ messages[0].content }}{% endgeneration %}c"), "a[bhi]c");
  EXPECT_EQ(generated("{% generation %}b{% endgeneration %}"), "[b]");
  EXPECT_EQ(generated("a{% generation %}{% endgeneration %}b"), "ab");
  EXPECT_EQ(generated("{% macro m() %}x{% generation %}y{% endgeneration %}{% endmacro %}a{{ m() }}{{ m() | upper }}"),
            "ax[y]X[Y]");
  EXPECT_EQ(generated("{% set s %}x{% generation %}yz{% endgeneration %}{% endset %}{{ s[1:2] ~ s }}"), "[y]x[yz]");
  EXPECT_EQ(generated("{% if false %}{% generation %}x{% endgeneration %}{% endif %}a"), "a");
}

TEST(GenerationSpans, BecomeMasksOfTokens) {
  const Encoding encoding{.ids = {1, 2, 3, 4, 5}, .offsets = {{0, 0}, {0, 2}, {2, 3}, {3, 6}, {6, 7}}};
  EXPECT_THAT(token_mask(encoding, {}), ElementsAre(0, 0, 0, 0, 0));
  EXPECT_THAT(token_mask(encoding, {{2, 3}}), ElementsAre(0, 0, 1, 0, 0));
  EXPECT_THAT(token_mask(encoding, {{0, 1}, {4, 5}}), ElementsAre(0, 1, 0, 1, 0));
  EXPECT_THAT(token_mask(encoding, {{0, 7}}), ElementsAre(0, 1, 1, 1, 1));
}

TEST(ContentSpans, CoverToolsDocumentsAndRolesThatAreUnknown) {
  const auto compiled = ChatTemplate::compile(
      "{{ tools[0].name }}|{{ documents[0].text }}|{{ messages[0].role }}|{{ messages[0].calls[0].name }}|{{ date }}");
  ASSERT_TRUE(compiled.ok());
  ChatTemplateOptions options;
  options.tools = ordered_json::array({{{"name", "t"}}});
  options.documents = ordered_json::array({{{"text", "d"}}});
  options.extra = {{"date", "today"}};
  const auto messages = ordered_json::array({{{"role", "end|"}, {"calls", ordered_json::array({{{"name", "c"}}})}}});
  const auto rendered = (*compiled)->render(messages, options);
  ASSERT_TRUE(rendered.ok()) << rendered.error().message;
  EXPECT_EQ(rendered->text, "t|d|end||c|today");
  ASSERT_EQ(rendered->content.size(), 4U);
  EXPECT_EQ(rendered->content[2].begin, 4U);
  EXPECT_EQ(rendered->content[2].end, 8U);
}

TEST(Jinja, StrftimeNowTakesTheGivenTime) {
  const auto compiled = ChatTemplate::compile("{{ strftime_now('%d %b %Y %H:%M') }}{{ strftime_now('') }}");
  ASSERT_TRUE(compiled.ok());
  ChatTemplateOptions options;
  options.now = std::tm{};
  options.now->tm_mday = 3;
  options.now->tm_year = 99;
  EXPECT_EQ((*compiled)->render(ordered_json::array(), options)->text, "03 Jan 1999 00:00");
}

// A mutated template is refused or renders; it never harms.
TEST(Jinja, SurvivesMutations) {
  const std::string original = R"({%- set ns = namespace(i=0) -%}{% macro f(a, b=1) %}{{ a ~ b }}{% endmacro %}
    {% for m in messages if m.content is string %}{% if loop.first and not ns.i %}{{ f(m['content'] | trim, b='x') }}
    {%- elif m.role in ['user', "x"] %}{% set ns.i = ns.i + 1 %}{{ m.content[1:-1:2].split('a') | join(', ') | tojson }}
    {% else %}{% break %}{% endif %}{% endfor %}{# c #}{% raw %}{{{% endraw %}{{ {'a': [1, 2.5e3, none]}.a[-1] }})";
  const std::string pieces[] = {"{%",       "%}",          "{{",
                                "}}",       "-%}",         "{#",
                                "'",        "\"",          "(",
                                ")",        "[",           "]",
                                "{",        "}",           "|",
                                " is ",     " not ",       " if ",
                                " else ",   "loop",        "ns",
                                "**",       "//",          "999999999999",
                                "\\",       "{% endif %}", "{% endfor %}",
                                "\xC3\xA9", "\n",          " in "};
  const auto messages = ordered_json::array({{{"role", "user"}, {"content", " banana \xC3\xA9 "}}, {{"role", "x"}}});
  std::mt19937 random(13);
  size_t rendered_count = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string source = original;
    for (unsigned edit = 0; edit <= random() % 4; ++edit) {
      const size_t at = random() % source.size();
      if (random() % 2 == 0) source.erase(at, random() % 10);
      if (random() % 2 == 0) source.insert(std::min(at, source.size()), pieces[random() % std::size(pieces)]);
      if (source.empty()) source = " ";
    }
    const auto rendered = render(source, messages);
    if (!rendered.ok()) {
      ASSERT_THAT(rendered.error().message, Not(HasSubstr("\n")));
      continue;
    }
    ++rendered_count;
    ASSERT_TRUE(is_valid_utf8(rendered->text));
    size_t done = 0;
    for (const ProtectedSpan& span : rendered->content) {
      ASSERT_LE(done, span.begin);
      ASSERT_LT(span.begin, span.end);
      ASSERT_LE(span.end, rendered->text.size());
      done = span.end;
    }
  }
  EXPECT_GT(rendered_count, 300U);
  for (size_t size = 0; size <= original.size(); ++size) static_cast<void>(render(original.substr(0, size), messages));
}

}  // namespace
}  // namespace graft::text
