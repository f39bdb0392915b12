"use strict";
// Draws what Python computed: the data element holds it, and the address the position.
const data = JSON.parse(document.getElementById("data").textContent);
const length = data.tokens.length;
const views = [];
let position = 0;
let timer = null;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${Number(count.toPrecision(3))} ${units[unit]}`;
}

function stepSize(layer, t) {
  if (!layer.delta) return null;
  return Array.isArray(layer.delta.mean) ? layer.delta.mean[t] : layer.delta.mean;
}

// One scale for all models, layers and positions, so that the eye compares.
const largest = Math.max(...data.models.flatMap((model) => model.layers.flatMap(
  (layer) => data.tokens.map((_, t) => stepSize(layer, t) ?? 0))), 1e-9);

// The layer whose step sizes differ most between tokens: where selection shows.
function mostSelective(model) {
  const spread = ({ delta }) => (!delta ? -1 : Array.isArray(delta.mean) ? Math.max(...delta.mean) - Math.min(...delta.mean) : 0);
  const spreads = model.layers.map(spread);
  return spreads.indexOf(Math.max(...spreads));
}

function paint(canvas, rows, width, highlight) {
  const scale = Math.max(1, Math.floor(352 / width)), tall = Math.max(1, Math.floor(200 / rows.length));
  canvas.width = width * scale; canvas.height = rows.length * tall;
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  rows.forEach((row, y) => row.forEach((value, x) => {
    pen.globalAlpha = Math.min(1, Math.abs(value));
    pen.fillStyle = style.getPropertyValue(y === highlight ? "--now" : "--bar");
    pen.fillRect(x * scale, y * tall, scale, tall);
  }));
}

class View {
  constructor(model) {
    this.model = model;
    this.root = element("section");
    this.root.append(element("h2", "", model.name));
    this.about = element("p", "about");
    this.layer = this.choice("Layer", model.layers.map((_, index) => `layer ${index + 1}`));
    this.group = this.choice("Head or channel group", []);
    this.layer.addEventListener("change", () => { this.changeLayer(); this.draw(); });
    this.group.addEventListener("change", () => this.draw());
    this.tokens = element("div", data.row ? "tokens rows" : "tokens");
    this.tokens.setAttribute("role", "group");
    this.tokens.setAttribute("aria-label", "Tokens: the blue bar is how much was let in, the orange one what is kept now");
    this.cells = data.tokens.map((label, t) => this.token(label, t));
    this.memoryTitle = element("h3"); this.memory = element("canvas");
    this.stateTitle = element("h3"); this.state = element("canvas");
    this.answers = element("table");
    this.root.append(this.about, this.layer.parentNode, this.group.parentNode, this.tokens,
      element("h3", "", "What the model would say now"), this.answers,
      this.memoryTitle, this.memory, this.stateTitle, this.state);
    document.getElementById("models").append(this.root);
    this.layer.value = mostSelective(model);
    this.changeLayer();
  }

  choice(label, options) {
    const select = element("select");
    options.forEach((text, index) => select.append(new Option(text, index)));
    element("label", "", `${label} `).append(select);
    return select;
  }

  token(label, t) {
    const cell = element("button", "token");
    cell.type = "button";
    cell.tabIndex = -1;
    const gauge = element("span", "gauge");
    cell.bar = element("i");
    cell.kept = element("span", "kept");
    const held = element("span", "held");
    gauge.append(cell.bar);
    held.append(cell.kept);
    cell.append(element("span", "word", label === " " ? "␣" : label), gauge, held);
    cell.addEventListener("click", () => go(t));
    this.tokens.append(cell);
    return cell;
  }

  changeLayer() {
    this.shown = this.model.layers[Number(this.layer.value)];
    const names = this.shown.memory ? this.shown.memory.groups : [];
    this.group.replaceChildren(...names.map((text, index) => new Option(text, index)));
    this.group.parentNode.hidden = !names.length;
  }

  draw() {
    const { memory, state, delta } = this.shown;
    const kept = memory ? memory.values[Number(this.group.value)] : null;
    this.about.textContent = `${this.model.parameters.toLocaleString("en")} parameters · state after this token: ${bytes(this.model.state_bytes[position])}`;
    this.cells.forEach((cell, t) => {
      const step = stepSize(this.shown, t);
      cell.bar.style.height = `${step === null ? 0 : 100 * step / largest}%`;
      const share = kept && t <= position ? kept[position][t] : 0;
      cell.kept.style.height = `${12 * share}px`;
      cell.setAttribute("aria-current", String(t === position));
      const opened = delta && delta.top ? `; opened most: ${delta.top[t].map(([channel, value]) => `channel ${channel} ${value}`).join(", ")}` : "";
      cell.title = `${t + 1}: ${data.tokens[t]}${step === null ? "" : `; Δ ${step}`}${opened}; kept now ${share}`;
      cell.setAttribute("aria-label", cell.title);
    });
    this.answers.replaceChildren(...this.model.answers[position].map(([label, chance]) => {
      const row = element("tr");
      row.append(element("td", "", label), element("td", "", `${(100 * chance).toFixed(1)} %`));
      return row;
    }));
    const titles = { decay: "share of what came in that the state still holds", weights: "attention weights", kernel: "S4's kernel |K|, of its largest" };
    this.memoryTitle.textContent = kept ? `What position t (down) remembers of s (across): ${titles[memory.kind]}` : "This layer shows no memory";
    this.memory.hidden = !kept;
    if (kept) { paint(this.memory, kept, length, position); this.describe(this.memory, this.memoryTitle); }
    this.state.hidden = this.stateTitle.hidden = !state;
    if (state) {
      const most = Math.max(...state.flat().map(Math.abs), 1e-9);
      const columns = state[0].map((_, channel) => state.map((row, t) => (t <= position ? row[channel] / most : 0)));
      this.stateTitle.textContent = "State until now: channels (down, by time constant) and positions (across)";
      paint(this.state, columns, length, -1);
      this.describe(this.state, this.stateTitle);
    }
  }

  describe(canvas, title) { canvas.setAttribute("role", "img"); canvas.setAttribute("aria-label", title.textContent); }
}

// Says what to see, with the numbers of this input.
function sentence() {
  return data.models.map((model) => {
    const index = mostSelective(model), layer = model.layers[index];
    if (!layer.delta) return `${model.name} has no step size.`;
    if (!Array.isArray(layer.delta.mean)) return `${model.name} lets every token in alike: Δ is ${layer.delta.mean}.`;
    const mean = layer.delta.mean, most = mean.indexOf(Math.max(...mean)), least = mean.indexOf(Math.min(...mean));
    return `${model.name} opens most at “${data.tokens[most]}” (Δ ${mean[most]}) and least at “${data.tokens[least]}” (Δ ${mean[least]}), in layer ${index + 1}, where it differs most.`;
  }).join(" ");
}

function go(to) {
  position = Math.max(0, Math.min(length - 1, to));
  document.getElementById("position").value = position;
  document.getElementById("where").textContent = `${position + 1} of ${length}: ${data.tokens[position]}`;
  history.replaceState(null, "", `#${position + 1}`);
  views.forEach((view) => view.draw());
}

function play() {
  const stop = timer !== null;
  clearInterval(timer);
  if (!stop && position === length - 1) go(0);
  timer = stop ? null : setInterval(() => { if (position === length - 1) play(); else go(position + 1); }, 500);
  document.getElementById("play").textContent = stop ? "Play" : "Pause";
}

const keys = { ArrowLeft: () => go(position - 1), ArrowRight: () => go(position + 1), Home: () => go(0), End: () => go(length - 1), " ": play };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "SELECT" || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
const slider = document.getElementById("position");
slider.max = length - 1;
slider.addEventListener("input", () => go(Number(slider.value)));
document.getElementById("play").addEventListener("click", play);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => go(position));
window.addEventListener("hashchange", () => go((parseInt(location.hash.slice(1), 10) || 1) - 1));
views.push(...data.models.map((model) => new View(model)));
document.getElementById("sentence").textContent = sentence();
go((parseInt(location.hash.slice(1), 10) || 1) - 1);
