"use strict";
// What all pages share: elements, colours, numbers and pictures.

const SVG = "http://www.w3.org/2000/svg";

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function svgElement(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const short = (x) => (x === null || x === undefined ? "–" : String(Number(x.toPrecision(3))));

const seen = (label) => (label === " " ? "␣" : label);

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${Number(count.toPrecision(3))} ${units[unit]}`;
}

function choice(parent, label, options) {
  const select = element("select");
  options.forEach((text, index) => select.append(new Option(text, index)));
  element("label", "", `${label} `).append(select);
  parent.append(select.parentNode);
  return select;
}

function describeCanvas(canvas, text) { canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", text); }

// A matrix of shares as a heat map; one row stands out.
function paint(canvas, rows, width, highlight) {
  const scale = Math.max(1, Math.floor(448 / width)), tall = Math.max(1, Math.floor(220 / rows.length));
  canvas.width = width * scale; canvas.height = rows.length * tall;
  const pen = canvas.getContext("2d");
  rows.forEach((row, y) => {
    pen.fillStyle = colour(y === highlight ? "--now" : "--bar");
    row.forEach((value, x) => {
      pen.globalAlpha = Math.min(1, Math.abs(value));
      pen.fillRect(x * scale, y * tall, scale, tall);
    });
  });
}

// Numbers as bars up and down from a middle line; `colours` says of each which, `labels` what is written below.
function bars(canvas, numbers, colours, labels = []) {
  const width = Math.max(canvas.clientWidth, 1), tall = 90, named = labels.length > 0 && width / labels.length >= 24, most = Math.max(...numbers.map(Math.abs), 1e-30);
  const sharp = devicePixelRatio || 1;
  const whole = tall + (named ? 16 : 0);
  canvas.width = width * sharp; canvas.height = whole * sharp; canvas.style.height = `${whole}px`;
  const pen = canvas.getContext("2d"), step = width / numbers.length;
  pen.scale(sharp, sharp);
  numbers.forEach((value, at) => {
    const height = value / most * (tall / 2 - 2);
    pen.fillStyle = colour(colours(at));
    pen.fillRect(at * step + step * 0.1, tall / 2 - Math.max(height, 0), step * 0.8, Math.max(Math.abs(height), 0.5));
  });
  if (!named) return;
  pen.fillStyle = colour("--ink");
  pen.textAlign = "center";
  pen.font = "11px ui-monospace, monospace";
  labels.forEach((label, at) => pen.fillText(seen(label), (at + 0.5) * step, tall + 11, step));
}
