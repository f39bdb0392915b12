"use strict";
// The page: draws what Python computed, or what a live model makes of the reader's own sentence. The address
// keeps the position, which of the three pages is open, and the layers that were chosen.
const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const live = data.models.every((model) => model.live) && data.reader ? data.models.map((model) => openModel(model.live)) : null;
const longest = Math.min(...data.models.map((model) => model.longest));
const TABS = ["tokens", "modes", "scan"];
let shown = data.inputs[0];
let position = 0; // in the sequence, for the first two pages
let step = 0; // of the scan, for the third
let tab = "tokens";
let stop = null;

// How many positions of a layer are complete at position t: fewer than t + 1 in the inner stages of a U-Net.
function inLayer(count, t) { return Math.floor((t + 1) * count / shown.tokens.length) - 1; }

function stepSize(layer, t) {
  if (!layer.delta) return null;
  const { mean } = layer.delta;
  return Array.isArray(mean) ? mean[inLayer(mean.length, t)] ?? null : mean;
}

// One scale for all models, layers and positions, so that the eye compares.
function largestStep() {
  const steps = shown.models.flatMap((model) => model.layers.flatMap((layer) => (layer.delta ? [].concat(layer.delta.mean) : [])));
  return steps.reduce((most, v) => Math.max(most, v), 1e-9);
}

// The layer whose step sizes differ most between tokens: where selection shows.
function mostSelective({ layers }) {
  const spread = ({ delta }) => (!delta ? -1 : Array.isArray(delta.mean) ? Math.max(...delta.mean) - Math.min(...delta.mean) : 0);
  const spreads = layers.map(spread);
  return spreads.indexOf(Math.max(...spreads));
}

class View {
  constructor(index) {
    this.index = index;
    this.root = element("section");
    this.root.append(element("h2", "", data.models[index].name));
    this.about = element("p", "about");
    const size = element("div", "size");
    this.size = element("i");
    size.append(this.size);
    this.root.append(this.about, size);
    this.layer = choice(this.root, "Layer", []);
    this.group = choice(this.root, "Head or channel group", []);
    this.layer.addEventListener("change", () => { this.changeLayer(); go(place()); });
    this.group.addEventListener("change", () => this.draw(largestStep()));
    this.strip = data.unit === "sample" ? new WaveStrip(go) : new TokenStrip(data.row, go);
    this.lines = new Lines();
    this.answers = element("table", "answers");
    const picture = () => { const box = element("div"), title = element("h3"), canvas = element("canvas"); box.append(title, canvas); return { box, title, canvas }; };
    [this.memory, this.state] = [picture(), picture()];
    const pair = element("div", "pair");
    pair.append(this.memory.box, this.state.box);
    this.says = element("p", "says");
    this.root.append(this.lines.root, this.strip.root, this.says, element("h3", "", "What the model would say now"), this.answers, pair);
    find("models").append(this.root);
  }

  get model() { return shown.models[this.index]; }

  show() {
    const before = this.layer.value;
    this.layer.replaceChildren(...this.model.layers.map((_, index) => new Option(`layer ${index + 1}`, index)));
    this.layer.value = before === "" ? mostSelective(this.model) : before;
    this.strip.show(shown);
    this.says.textContent = sentenceOf(this.model, this.index);
    this.changeLayer();
  }

  // Shows the layer with a number, if there is such.
  choose(number) {
    if (!this.model.layers[number - 1]) return;
    this.layer.value = number - 1;
    this.changeLayer();
  }

  get isAsOpened() { return Number(this.layer.value) === mostSelective(this.model); }

  changeLayer() {
    this.shown = this.model.layers[Number(this.layer.value)];
    const names = this.shown.memory ? this.shown.memory.groups : [];
    this.group.replaceChildren(...names.map((text, index) => new Option(text, index)));
    this.group.parentNode.hidden = !names.length;
  }

  // What orange shows: rows of shares by position, and what they are.
  held() {
    const { memory, read } = this.shown, fits = (rows) => (rows && rows.length === shown.tokens.length ? rows : null);
    if (find("below").value === "read") return [fits(read), "share read now", "whose share is read at t (down), by token s (across)"];
    const titles = {
      decay: "share of what came in at s (across) that the state still holds at t (down)",
      weights: "attention weights of t (down) on s (across)",
      kernel: "the kernel |K̄| from s (across) to t (down), of its largest",
    };
    return [memory ? fits(memory.values[Number(this.group.value)]) : null, "kept now", memory ? titles[memory.kind] : ""];
  }

  draw(largest) {
    const { state, delta } = this.shown, [held, heldName, heldTitle] = this.held(), { state_bytes: sizes, answers, without } = this.model;
    const described = data.models[this.index], most = Math.max(...shown.models.map((model) => Math.max(...model.state_bytes)));
    this.about.textContent = [described.label, `${described.parameters.toLocaleString("en")} parameters`, described.score, `state after this token: ${bytes(sizes[position])}, ${sizes[0] === sizes[sizes.length - 1] ? "whatever the length" : "growing"}`].filter(Boolean).join(" · ");
    this.size.style.width = `${100 * sizes[position] / most}%`;
    this.strip.draw({ position, step: (t) => stepSize(this.shown, t), largest, held, heldName, without, layer: this.shown });
    this.lines.root.style.display = held ? "" : "none";
    if (held) this.lines.draw({ tokens: shown.tokens, position, shares: held[position], centres: centresOf(this.strip.cells ?? []), title: `Lines to “${seen(shown.tokens[position])}”: ${heldName}` });
    this.answers.replaceChildren(...answers[position].map(([label, chance]) => {
      const row = element("tr"), name = element("td", "", seen(label));
      name.style.setProperty("--share", `${100 * chance}%`);
      row.append(name, element("td", "", percent(chance)));
      return row;
    }));
    this.memory.title.textContent = held ? `Memory: ${heldTitle}` : "No memory is shown of this layer, or of an input this long";
    this.memory.canvas.hidden = !held;
    if (held) { paint(this.memory.canvas, held, shown.tokens.length, position); describeCanvas(this.memory.canvas, heldTitle); }
    this.state.box.hidden = !state;
    if (state) {
      const peak = state.reduce((top, row) => Math.max(top, ...row), 1e-9), now = inLayer(state.length, position);
      this.state.title.textContent = "State until now, root of the magnitude: channels (down, by time constant), positions (across)";
      paint(this.state.canvas, state[0].map((_, channel) => state.map((row, t) => (t <= now ? Math.sqrt(row[channel] / peak) : 0))), state.length, -1);
      describeCanvas(this.state.canvas, this.state.title.textContent);
    }
    this.root.dataset.delta = String(delta ? stepSize(this.shown, position) : "");
  }
}

// Says what to see, with the numbers of this input.
function sentenceOf(model, index) {
  const tokens = shown.tokens, end = tokens.length - 1, name = data.models[index].name, parts = [];
  const quote = (t) => (data.unit === "sample" ? `sample ${t + 1}` : `“${seen(tokens[t])}” (${t + 1})`);
  const [label, chance] = model.answers[end][0];
  parts.push(`${name} says ${seen(label)} at the end (${percent(chance)}).`);
  if (model.without) {
    const by = order(model.without).reverse(), told = (t) => `${quote(t)}: ${model.without[t].toFixed(2)}`;
    parts.push(`Its answer moves most without ${by.slice(0, 3).map(told).join(", ")}; least without ${told(by[end])}.`);
  }
  const at = mostSelective(model), { delta } = model.layers[at];
  if (!delta) parts.push("It has no step size Δ.");
  else if (!Array.isArray(delta.mean)) parts.push(`Its step size is the same for every token: Δ = ${short(delta.mean)} in layer ${at + 1}, the mean of the channels.`);
  else {
    const by = order(delta.mean), most = by[by.length - 1], where = (t) => (delta.mean.length === tokens.length ? quote(t) : `frame ${t + 1}`);
    parts.push(`Its mean step size Δ differs most in layer ${at + 1}: ${short(delta.mean[most])} at ${where(most)}, ${short(delta.mean[by[0]])} at ${where(by[0])}.`);
  }
  return parts.join(" ");
}

const views = data.models.map((_, index) => new View(index));
const modes = new Modes(find("tab-modes"));
const scan = new Scan(find("tab-scan"), data.scan);

function draw() {
  const largest = largestStep();
  if (tab === "tokens") views.forEach((view) => view.draw(largest));
  if (tab === "modes") modes.draw(position);
  if (tab === "scan") scan.draw(step);
}

const place = () => (tab === "scan" ? step : position);
const count = () => (tab === "scan" ? scan.steps : shown.tokens.length);

// The place; the tab, where it is not the first; the layer of each model, where one was chosen.
function addressOf(number) {
  if (!views.every((view) => view.isAsOpened)) return `${number}/${tab}/${views.map((view) => Number(view.layer.value) + 1).join(",")}`;
  return tab === "tokens" ? String(number) : `${number}/${tab}`;
}

function go(to) {
  const there = Math.max(0, Math.min(count() - 1, to));
  if (tab === "scan") step = there; else position = there;
  find("position").max = count() - 1;
  find("position").value = there;
  find("where").textContent = tab === "scan" ? `step ${there + 1} of ${count()}` : `${there + 1} of ${count()}: ${seen(shown.tokens[there])}`;
  history.replaceState(null, "", `#${addressOf(there + 1)}`);
  draw();
}

function open(name) {
  if (stop) play();
  tab = TABS.includes(name) ? name : "tokens";
  TABS.forEach((each) => { find(`tab-${each}`).hidden = each !== tab; });
  document.querySelectorAll("nav button").forEach((button) => {
    if (button.dataset.tab === tab) button.setAttribute("aria-current", "page"); else button.removeAttribute("aria-current");
  });
  go(place());
}

function fromAddress() {
  const [there, name, layers = ""] = location.hash.slice(1).split("/");
  layers.split(",").forEach((number, index) => { if (number && views[index]) views[index].choose(Number(number)); });
  open(name);
  go((parseInt(there, 10) || 1) - 1);
}

function show(input) {
  if (stop) play();
  shown = input;
  views.forEach((view) => view.show());
  modes.show(input, data.models);
}

function play() {
  const button = find("play");
  if (stop) { stop(); stop = null; button.textContent = "Play"; return; }
  if (place() === count() - 1) go(0);
  button.textContent = "Pause";
  if (shown.wave && tab !== "scan") {
    stop = playWave(shown.wave, data.rate, position, go, () => { stop = null; button.textContent = "Play"; });
    return;
  }
  const timer = setInterval(() => { if (place() === count() - 1) play(); else go(place() + 1); }, 500);
  stop = () => clearInterval(timer);
}

// Runs the reader's own sentence through the models in the page.
function showOwn(text) {
  const say = (message) => { find("note").textContent = message; };
  try {
    const ids = readTokens(data.reader, text);
    if (!ids.length || ids.length > longest) { say(`It has ${ids.length} tokens: these models take 1 to ${longest} here.`); return; }
    const models = live.map((model, index) => describeModel(model, ids, data.models[index].names));
    show({ tokens: ids.map((id) => data.reader.labels[id]), models });
    say("Computed in this page.");
    go(ids.length - 1);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    say(error.message);
  }
}

const keys = { ArrowLeft: () => go(place() - 1), ArrowRight: () => go(place() + 1), Home: () => go(0), End: () => go(count() - 1), " ": play };
TABS.forEach((name, index) => { keys[index + 1] = () => open(name); });
document.addEventListener("keydown", (event) => {
  const { target } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
  if (target.matches("select, input[type=text]") || (event.key === " " && target.matches("nav button, form button"))) return;
  event.preventDefault();
  keys[event.key]();
});
find("position").addEventListener("input", () => go(Number(find("position").value)));
find("play").addEventListener("click", play);
document.querySelectorAll("nav button").forEach((button) => button.addEventListener("click", () => open(button.dataset.tab)));
find("below").addEventListener("change", draw);
find("own").hidden = !live;
find("own").addEventListener("submit", (event) => { event.preventDefault(); showOwn(find("sentence-input").value); });
find("sentence-input").value = data.inputs[0].text;
find("chosen").hidden = data.inputs.length < 2;
find("input").replaceChildren(...data.inputs.map(({ text }, index) => new Option(text.length > 60 ? `${text.slice(0, 60)}…` : text, index)));
find("input").addEventListener("change", () => { const input = data.inputs[Number(find("input").value)]; find("sentence-input").value = input.text; find("note").textContent = ""; show(input); go(0); });
if (!live) find("note").textContent = data.why;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
window.addEventListener("resize", draw);
window.addEventListener("hashchange", fromAddress);
show(shown);
fromAddress();
