#pragma once

namespace graft::chart {

inline constexpr const char* kPageStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1b2130; --soft: #5c6577; --line: #e1e5ec; --code: #f1f3f7;
  --train: #2f6fde; --validation: #d3541c; --rate: #1d8a6e; --good: #14724f; --good-bg: #e2f4ec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11141a; --card: #191e27; --ink: #e6e9f0; --soft: #98a2b5; --line: #2b3240; --code: #212733;
    --train: #79a6ff; --validation: #ff9a66; --rate: #5fd0ae; --good: #7fe0b8; --good-bg: #173329;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 40px 20px 64px; }
header { margin-bottom: 24px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 6px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 14px; }
.outcome { color: var(--soft); margin: 0; }
.remark { margin: 14px 0 0; padding: 10px 14px; border-left: 3px solid var(--validation); background: var(--card);
  border-radius: 0 8px 8px 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 12px; margin-bottom: 16px; }
.tile, section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.tile { padding: 14px 16px; }
.tile b { display: block; font-size: 17px; font-weight: 650; letter-spacing: -0.01em;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
section { padding: 20px 22px; margin-bottom: 16px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
.axes line { stroke: var(--line); }
.mark line { stroke: var(--soft); stroke-dasharray: 4 4; }
.mark text { fill: var(--soft); font-size: 12px; }
.axes text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.train, .first { color: var(--train); } .validation, .second { color: var(--validation); }
.rate, .third { color: var(--rate); }
.bars rect { fill: currentColor; }
polyline { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.faint polyline { stroke-width: 1; opacity: .35; }
circle { fill: var(--card); stroke: currentColor; stroke-width: 2; }
.legend { display: flex; gap: 18px; font-size: 13px; margin-bottom: 6px; }
.legend i { display: inline-block; width: 16px; height: 3px; border-radius: 2px; background: currentColor;
  margin-right: 7px; vertical-align: middle; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 16px; }
.pair section { margin: 0; } .pair { margin-bottom: 16px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 400; color: var(--soft); padding-right: 16px; }
td { text-align: right; overflow-wrap: anywhere; }
tr:last-child > * { border-bottom: 0; }
.curve td, .curve th { text-align: right; } .curve th:first-child, .curve td:first-child { text-align: left; }
.sample { border-top: 1px solid var(--line); padding: 14px 0; }
.sample:first-of-type { border-top: 0; padding-top: 0; } .sample:last-child { padding-bottom: 0; }
.prompt { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--code); border-radius: 8px;
  padding: 10px 12px; max-height: 180px; overflow: auto; font-size: 13.5px; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin-top: 10px; }
.answers h3 { font-size: 12px; font-weight: 600; color: var(--soft); margin: 0 0 2px; }
.answers p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.answers .match p { color: var(--good); background: var(--good-bg); border-radius: 6px; padding: 1px 8px;
  display: inline-block; }
.empty { color: var(--soft); font-style: italic; }
pre { margin: 0; background: var(--code); border-radius: 8px; padding: 14px 16px; overflow: auto; font-size: 13px;
  line-height: 1.5; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
summary { cursor: pointer; color: var(--soft); } details[open] summary { margin-bottom: 10px; }
section > details { margin-top: 12px; }
footer { color: var(--soft); font-size: 13px; }
@media print { body { background: none; } section, .tile { break-inside: avoid; } }
)css";

}  // namespace graft::chart
