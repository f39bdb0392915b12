"use strict";
// The third page: three ways to the same running sums, and what they take on the machine that made the page.

const SUMMED = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3], TILE = 4;

// Each way is a list of steps, each a list of [to, from]: what is added at once.
const WAYS = {
  "One after the other": {
    steps: SUMMED.slice(1).map((_, at) => [[at + 1, at]]),
    about: "As a loop: each addition waits for the one before. Few additions, but as many steps as there are numbers.",
  },
  "In a tree": {
    steps: treeSteps(SUMMED.length),
    about: "As the textbook's prefix sum: up the tree, then down. Few steps, whose additions are done at once, but each step reads and writes the numbers in slow memory.",
  },
  Tiled: {
    steps: tileSteps(SUMMED.length, TILE),
    about: `As fused kernels do: in tiles (here of ${TILE}) that stay in fast memory. Each number is read from slow memory once and its sum written once; only a tile's last sum goes on to the next.`,
  },
};

function treeSteps(length) {
  const steps = [];
  for (let gap = 1; gap < length; gap *= 2) {
    const step = [];
    for (let at = 2 * gap - 1; at < length; at += 2 * gap) step.push([at, at - gap]);
    steps.push(step);
  }
  for (let gap = length / 4; gap >= 1; gap /= 2) {
    const step = [];
    for (let at = 3 * gap - 1; at < length; at += 2 * gap) step.push([at, at - gap]);
    steps.push(step);
  }
  return steps;
}

function tileSteps(length, tile) {
  const starts = Array.from({ length: length / tile }, (_, index) => index * tile), steps = [];
  for (let within = 1; within < tile; within += 1) steps.push(starts.map((start) => [start + within, start + within - 1]));
  for (const start of starts.slice(1)) steps.push([[start + tile - 1, start - 1]]);
  steps.push(starts.slice(1).flatMap((start) => Array.from({ length: tile - 1 }, (_, within) => [start + within, start - 1])));
  return steps;
}

function timeText(seconds) {
  const [scale, unit] = seconds >= 1 ? [1, "s"] : seconds >= 1e-3 ? [1e3, "ms"] : [1e6, "µs"];
  return `${Number((scale * seconds).toPrecision(3))} ${unit}`;
}

class Scan {
  constructor(root, measured) {
    root.append(element("h2", "", "The scan: one result, three orders of additions"));
    root.append(element("p", "", "Mamba's recurrence h = a h + b, with a and b of each position, is a running sum in which “adding” means applying one map after another. That is associative, so the additions may be done in other orders. Step through them: running sums of 16 numbers."));
    const three = element("div", "three");
    this.tables = Object.entries(WAYS).map(([name, way]) => this.table(three, name, way));
    this.steps = Math.max(...this.tables.map((rows) => rows.length));
    root.append(three);
    root.append(element("h2", "", "Measured"));
    if (measured) this.times(root, measured);
    else root.append(element("p", "", "No times were measured when this page was made (seqsuite inspect --times measures them)."));
  }

  table(root, name, { steps, about }) {
    const additions = total(steps.map((step) => step.length));
    const part = element("div");
    part.append(element("h3", "", `${name}: ${steps.length} steps, ${additions} additions`), element("p", "about", about));
    const table = element("table", "ways"), scroll = element("div", "scroll"), numbers = [...SUMMED];
    const line = (head, added) => {
      const row = element("tr");
      row.append(element("th", "", head), ...numbers.map((v, at) => element("td", added.has(at) ? "added" : "", String(v))));
      table.append(row);
      return row;
    };
    line("numbers", new Set());
    const rows = steps.map((step, index) => {
      const before = [...numbers];
      step.forEach(([to, from]) => { numbers[to] = before[to] + before[from]; });
      return line(`step ${index + 1}`, new Set(step.map(([to]) => to)));
    });
    scroll.append(table);
    part.append(scroll);
    root.append(part);
    return rows;
  }

  draw(step) {
    for (const rows of this.tables) rows.forEach((row, index) => row.classList.toggle("later", index > step));
  }

  times(root, { machine, shape, rows }) {
    root.append(element("p", "about", `${machine}; ${shape}; float32, forward, the fastest of some repeats, measured when this page was made.`));
    const lengths = [...new Set(rows.map((row) => row.seqlen))], ways = [...new Set(rows.map((row) => row.way))];
    const seconds = (way, seqlen) => rows.find((row) => row.way === way && row.seqlen === seqlen)?.seconds;
    root.append(this.plot(lengths, ways, seconds));
    const table = element("table", "times"), head = element("tr"), scroll = element("div", "scroll");
    head.append(element("th", "", "length"), ...ways.map((way) => element("th", "", way)));
    table.append(head, ...lengths.map((seqlen) => {
      const row = element("tr");
      row.append(element("th", "", String(seqlen)), ...ways.map((way) => {
        const taken = seconds(way, seqlen);
        return element("td", "", taken === undefined ? "–" : timeText(taken));
      }));
      return row;
    }));
    scroll.append(table);
    root.append(scroll);
  }

  // Milliseconds against length, both logarithmic; a line is named at its end.
  plot(lengths, ways, seconds) {
    const [wide, tall, left, right, low] = [640, 300, 60, 170, 34];
    const svg = svgElement("svg", { class: "times-plot", viewBox: `0 0 ${wide} ${tall}`, role: "img", "aria-label": "Time against length; the table below has the numbers" });
    const all = ways.flatMap((way) => lengths.map((seqlen) => seconds(way, seqlen)).filter(Boolean));
    const [first, last] = [Math.floor(Math.log10(Math.min(...all))), Math.ceil(Math.log10(Math.max(...all)))];
    const x = (seqlen) => left + (wide - left - right) * Math.log(seqlen / lengths[0]) / Math.max(Math.log(lengths[lengths.length - 1] / lengths[0]), 1e-9);
    const y = (value) => tall - low - (tall - low - 10) * (Math.log10(value) - first) / Math.max(last - first, 1);
    for (let power = first; power <= last; power += 1) {
      svg.append(svgElement("line", { class: "grid", x1: left, x2: wide - right, y1: y(10 ** power), y2: y(10 ** power) }),
        svgElement("text", { x: left - 6, y: y(10 ** power) + 4, "text-anchor": "end" }, timeText(10 ** power)));
    }
    lengths.forEach((seqlen) => svg.append(svgElement("text", { x: x(seqlen), y: tall - 14, "text-anchor": "middle" }, String(seqlen))));
    svg.append(svgElement("line", { class: "axis", x1: left, x2: wide - right, y1: tall - low, y2: tall - low }));
    const ends = [];
    ways.forEach((way, index) => {
      const points = lengths.flatMap((seqlen) => (seconds(way, seqlen) ? [[x(seqlen), y(seconds(way, seqlen))]] : []));
      svg.append(svgElement("polyline", { points: points.map((point) => point.join(",")).join(" "), fill: "none", stroke: colour(["--now", "--moved", "--bar"][index % 3]), "stroke-width": 2, "stroke-dasharray": ["", "6 3", "2 3"][index % 3] }));
      const [endX, endY] = points[points.length - 1];
      ends.push({ way, endX, endY });
    });
    // Names stand at their lines' ends, from the top down, and none over another.
    let above = -Infinity;
    ends.sort((one, other) => one.endY - other.endY).forEach(({ way, endX, endY }) => {
      above = Math.max(endY, above + 13);
      svg.append(svgElement("text", { x: endX + 6, y: above + 4 }, way));
    });
    return svg;
  }
}
