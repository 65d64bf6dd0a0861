// Turns charts over time into ones that show a value under the pointer, and in which dragging leads to the page of that
// time. The drawing of the page stays where this does not run, and its table in any case.
(() => {
  const HEIGHT = 196;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // How to end what is drawn at each place.
  const live = new Map();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = (extra) => ({
    stroke: colour("--dim"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
    ...extra,
  });
  const duration = (ms) => (ms >= 1000 ? `${+(ms / 1000).toPrecision(3)} s` : `${+ms.toPrecision(3)} ms`);
  // In UTC and in 24 hours, as the page itself says times.
  // A narrow drawing has no room for the year beside the next day.
  const time = (step, narrow) => (at, index, all) => {
    const [day, clock] = new Date(at * 1000).toISOString().split("T");
    const words = step >= 86400 ? day : step >= 60 ? clock.slice(0, 5) : clock.slice(0, 8);
    const same = index > 0 && new Date(all[index - 1] * 1000).toISOString().startsWith(day);
    return same || step >= 86400 ? words : `${words}\n${narrow ? day.slice(5) : day}`;
  };
  const amount = (value) => value.toLocaleString("en");

  function options(figure, drawing, width) {
    const say = drawing.unit === "ms" ? duration : amount;
    const span = drawing.span || 0;
    const zoom = figure.dataset.zoom;
    const shown = drawing.series.map(({ label, colour: number }) => ({
      label,
      stroke: colour(`--series-${number}`),
      // A column without a value has no edge, and a value alone has no line.
      width: drawing.kind === "columns" ? 0 : 2,
      dash: drawing.kind === "lines" && number !== 1 ? [5, 3] : undefined,
      fill: drawing.kind === "columns" ? colour(`--series-${number}`) : undefined,
      paths: drawing.kind === "columns" ? uPlot.paths.bars({ size: [0.86], align: 1 }) : undefined,
      points: { show: drawing.kind === "lines" && drawing.at.length <= 200, size: 5 },
      value: (plot, value) => (value === null || value === undefined ? "-" : say(value)),
    }));
    return {
      width,
      height: HEIGHT,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      cursor: { drag: { x: Boolean(zoom), y: false, setScale: false } },
      scales: {
        x: { time: true, range: (plot, first, last) => [first, Math.max(last + span, first + 1)] },
        y: { range: (plot, least, most) => [0, most > 0 ? most * 1.05 : 1] },
      },
      axes: [
        axis({ size: 44, values: (plot, ticks, index, space, step) => ticks.map(time(step, plot.width < 480)) }),
        axis({ size: 64, values: (plot, ticks) => ticks.map(say) }),
      ],
      series: [{ value: (plot, at) => (at ? `${new Date(at * 1000).toISOString().slice(0, 19)}Z` : "-") }, ...shown],
      hooks: {
        setSelect: [
          (plot) => {
            if (!zoom || plot.select.width < 4) return;
            const at = (left) => new Date(plot.posToVal(left, "x") * 1000).toISOString().slice(0, 19) + "Z";
            const to = new URL(zoom, location.href);
            to.searchParams.set("from", at(plot.select.left));
            to.searchParams.set("to", at(plot.select.left + plot.select.width));
            location.assign(to);
          },
        ],
      },
    };
  }

  function draw(figure) {
    const still = figure.querySelector("svg.plot");
    if (!still || figure.querySelector(".zoomable")) return;
    const drawing = JSON.parse(figure.dataset.series);
    const place = document.createElement("div");
    place.className = "zoomable";
    // What it shows is in the caption and in the table.
    place.setAttribute("aria-hidden", "true");
    still.after(place);
    const data = [drawing.at, ...drawing.series.map(({ values }) => values)];
    let plot;
    const again = () => {
      plot?.destroy();
      plot = new uPlot(options(figure, drawing, place.clientWidth), data, place);
    };
    again();
    still.toggleAttribute("hidden", true);
    figure.querySelector(".legend")?.toggleAttribute("hidden", true);
    dark.addEventListener("change", again);
    const resized = new ResizeObserver(() => {
      if (plot.width !== place.clientWidth) plot.setSize({ width: place.clientWidth, height: HEIGHT });
    });
    resized.observe(place);
    live.set(place, () => {
      dark.removeEventListener("change", again);
      resized.disconnect();
      plot.destroy();
    });
  }

  function all() {
    for (const [place, end] of live) {
      if (place.isConnected) continue;
      live.delete(place);
      end();
    }
    for (const figure of document.querySelectorAll("figure[data-series]")) draw(figure);
  }

  if (typeof uPlot === "undefined") return;
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
  // What htmx swaps in.
  document.addEventListener("htmx:after:swap", all);
})();
