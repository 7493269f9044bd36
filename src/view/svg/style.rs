//! The colours and fonts of the picture, for light pages and for dark ones.

/// The style sheet.
pub(super) const STYLE: &str = "
text { font-family: ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #1f2328; }
.page { fill: #ffffff; }
.heading { font-size: 17px; font-weight: 600; }
.title { font-size: 14px; font-weight: 600; text-anchor: middle; }
.detail { font-size: 11px; text-anchor: middle; fill: #59636e; }
.subtitle { font-size: 12px; fill: #59636e; }
.label { font-size: 10.5px; text-anchor: middle; fill: #59636e; }
.backdrop { fill: #ffffff; fill-opacity: 0.88; }
.attach, .program, .map { stroke-width: 1.4; }
.attach { fill: #dafbe1; stroke: #1a7f37; }
.program { fill: #ddf4ff; stroke: #0969da; }
.map { fill: #fff8c5; stroke: #9a6700; }
.line { fill: none; stroke-width: 1.6; }
.line.to-attach { stroke: #1a7f37; }
.line.to-jump { stroke: #0969da; }
.line.to-loop { stroke: #cf222e; stroke-dasharray: 6 4; }
.line.to-use { stroke: #bf8700; stroke-width: 1.3; stroke-dasharray: 1 4; stroke-linecap: round; }
.tip.to-attach { fill: #1a7f37; }
.tip.to-jump { fill: #0969da; }
.tip.to-loop, .label.to-loop { fill: #cf222e; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.page { fill: #0d1117; }
.detail, .subtitle, .label { fill: #9198a1; }
.backdrop { fill: #0d1117; }
.attach { fill: #12261e; stroke: #3fb950; }
.program { fill: #121d2f; stroke: #4493f8; }
.map { fill: #272115; stroke: #d29922; }
.line.to-attach { stroke: #3fb950; }
.line.to-jump { stroke: #4493f8; }
.line.to-loop { stroke: #f85149; }
.line.to-use { stroke: #d29922; }
.tip.to-attach { fill: #3fb950; }
.tip.to-jump { fill: #4493f8; }
.tip.to-loop, .label.to-loop { fill: #f85149; }
}
";
