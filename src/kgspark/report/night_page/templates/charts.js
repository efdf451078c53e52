// Charts by plotly, in the colours of the theme; each one is drawn when it comes near the window.
const PALETTE = ["#4c6ef5", "#f76707", "#12b886", "#e64980", "#f0a202", "#15aabf", "#ae5bdb", "#74b816", "#f0524f", "#8d6e4f", "#2f9e8f", "#d6689a"];
const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false };
let loading = null;

function plotly() {
  loading ||= textOf("plotly").then((script) => {
    document.head.append(make("script", { textContent: script }));
    document.getElementById("data-plotly").remove();
    return window.Plotly;
  });
  return loading;
}
// Plotly reads a little HTML in texts, which ours must not be taken for.
function plain(value) {
  return typeof value === "string" ? value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("\n", "<br>") : value;
}
function axis(title, more = {}) {
  return {
    title: { text: plain(title || ""), font: { size: 12, color: tone("muted") }, standoff: 8 },
    tickfont: { size: 11.5, color: tone("muted") }, gridcolor: tone("line"), zeroline: false, linecolor: tone("line"),
    automargin: true, fixedrange: true, ...more,
  };
}
function layoutOf(chart, width) {
  const rows = chart.kind === "rows", bars = chart.kind === "bars", texts = typeof chart.x[0] === "string";
  const dates = texts && chart.kind === "area";
  const x = rows ? axis("", { tickformat: "~s", nticks: 5 })
    : axis(chart.x_title, { showgrid: false, type: dates ? "date" : chart.log ? "log" : texts ? "category" : "linear", tickangle: "auto", ...(chart.log ? { tickvals: [0.0001, 0.001, 0.01, 0.1, 1], tickformat: ".3~%" } : {}) });
  const y = rows ? axis("", { autorange: "reversed", showgrid: false, type: "category", tickfont: { size: 12.5, color: tone("ink") } })
    : axis(chart.y_title, { tickformat: chart.format.includes("%") ? ".0%" : chart.format === ",d" ? "~s" : "~g", rangemode: bars || chart.kind === "area" ? "tozero" : "normal", nticks: 6 });
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: tone("sans"), color: tone("ink"), size: 12 },
    margin: { l: 8, r: 12, t: chart.series.length > 1 ? 30 : chart.mark ? 24 : 12, b: 8 }, xaxis: x, yaxis: y, barmode: rows ? "stack" : "group", bargap: rows ? 0.42 : chart.x.length < 5 ? 0.62 : 0.28, bargroupgap: 0.08, barcornerradius: 4,
    height: rows ? Math.max(120, 34 * chart.x.length + 64) : 280, width, showlegend: chart.series.length > 1,
    legend: { orientation: "h", traceorder: "normal", itemwidth: 30, x: 0, y: 1.02, yanchor: "bottom", font: { size: 12, color: tone("muted") }, bgcolor: "rgba(0,0,0,0)" },
    hoverlabel: { bgcolor: tone("ink"), bordercolor: tone("ink"), font: { color: tone("bg"), family: tone("sans"), size: 12.5 } }, hovermode: rows ? "y unified" : "x unified",
  };
  if (rows) layout.hovermode = "closest";
  if (!texts && !chart.log) Object.assign(layout.xaxis, { tick0: chart.x[0], dtick: Math.max(1, Math.ceil(chart.x.length / 8)), tickformat: ",d" });
  if (chart.mark) {
    layout.shapes = [{ type: "line", x0: chart.mark[0], x1: chart.mark[0], yref: "paper", y0: 0, y1: 1, line: { color: tone("faint"), width: 1, dash: "dot" } }];
    layout.annotations = [{ x: chart.mark[0], yref: "paper", y: 1, yanchor: "bottom", text: plain(chart.mark[1]), showarrow: false, font: { size: 11.5, color: tone("muted") } }];
  }
  return layout;
}
function tracesOf(chart) {
  const x = chart.x.map(plain);
  return chart.series.map((series, place) => {
    const colour = series.tone === "each" ? PALETTE[place % PALETTE.length] : tone(series.tone), name = plain(series.name);
    const several = chart.series.length > 1 ? "%{fullData.name} " : "";
    if (chart.kind === "rows") {
      const hovertemplate = `%{y}: %{x:,d} ${several}<extra></extra>`;
      return { type: "bar", orientation: "h", y: x, x: series.y, name, marker: { color: colour }, hovertemplate };
    }
    const common = { x, y: series.y, name, hovertemplate: `%{y:${chart.format}} ${several}<extra></extra>` };
    if (chart.kind === "bars") return { type: "bar", marker: { color: colour }, ...common };
    const line = { color: colour, width: 2.2, shape: "linear" };
    if (chart.kind === "area") return { type: "scatter", mode: "lines", fill: "tozeroy", fillcolor: `color-mix(in srgb, ${colour} 18%, transparent)`, line: { ...line, width: 1.6 }, ...common };
    return { type: "scatter", mode: chart.x.length > 40 ? "lines" : "lines+markers", marker: { size: 6, color: colour }, line, ...common };
  });
}
function alpha(hex, share) {
  const parts = [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  return `rgba(${parts}, ${share})`;
}
async function drawChart(element, chart) {
  const Plotly = await plotly(), traces = tracesOf(chart);
  for (const trace of traces) if (trace.fill) trace.fillcolor = alpha(trace.line.color, 0.16);
  await Plotly.react(element, traces, layoutOf(chart, element.clientWidth), CONFIG);
  element.dataset.drawn = "yes";
}
function showCharts(charts) {
  const elements = [...document.querySelectorAll("[data-chart]")].filter((element) => {
    if (charts[element.dataset.chart]) return true;
    element.closest(".card").hidden = true;
    element.closest(".card").style.display = "none";
    return false;
  });
  const draw = (element) => drawChart(element, charts[element.dataset.chart]);
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      draw(target);
    }
  }, { rootMargin: "500px" });
  elements.forEach((element) => near.observe(element));
  document.addEventListener("themechange", () => elements.filter((it) => it.dataset.drawn).forEach(draw));
  addEventListener("beforeprint", () => elements.forEach(draw));
}
