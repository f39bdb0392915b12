"use strict";
// The second page: one channel of a time-invariant layer as a convolution and as a recurrence.

class Modes {
  constructor(root) {
    this.root = root;
    root.append(element("h2", "", "S4's two modes: one layer, computed twice"));
    this.none = element("p", "", "None of these models has a kernel. What Mamba's layers do to an input depends on the input, so there is no one kernel to convolve with; attention has none either. Show a run of s4 or s4d to see both modes.");
    this.text = element("p", "", "A layer whose Δ, A, B and C are the same at every position can be computed as a convolution with a fixed kernel K̄ (all positions at once, for training) or as a recurrence (one position after the other from a state, for generation). Both arrive at the same numbers.");
    this.choices = element("div");
    this.model = choice(this.choices, "Model", []);
    this.layer = choice(this.choices, "Layer", []);
    this.channel = choice(this.choices, "Channel", []);
    const part = (title) => { const heading = element("h3", "", title), canvas = element("canvas", "wide"); return { heading, canvas }; };
    this.kernel = part("Kernel K̄, by lag: what an input of one leaves in the output so many positions later");
    this.input = part("");
    this.product = part("");
    this.output = part("");
    this.equal = element("p");
    this.equal.id = "equal";
    const parts = [this.kernel, this.input, this.product, this.output].flatMap(({ heading, canvas }) => [heading, canvas]);
    this.body = element("div");
    this.body.append(this.text, this.choices, ...parts, this.equal);
    root.append(this.none, this.body);
    this.model.addEventListener("change", () => { this.fillLayers(); this.draw(this.position); });
    this.layer.addEventListener("change", () => { this.fillChannels(); this.draw(this.position); });
    this.channel.addEventListener("change", () => this.draw(this.position));
  }

  show(input, models) {
    this.current = input;
    const found = input.models.flatMap((model, index) => (model.layers.some((layer) => layer.modes) ? [index] : []));
    this.none.hidden = found.length > 0;
    this.body.hidden = !found.length;
    if (!found.length) return;
    const before = this.model.value;
    this.model.replaceChildren(...found.map((index) => new Option(models[index].name, index)));
    if (found.includes(Number(before)) && before !== "") this.model.value = before;
    this.fillLayers();
  }

  fillLayers() {
    const { layers } = this.current.models[Number(this.model.value)];
    this.layer.replaceChildren(...layers.flatMap((layer, index) => (layer.modes ? [new Option(`layer ${index + 1}`, index)] : [])));
    this.fillChannels();
  }

  fillChannels() {
    const ways = ["forgets first", "in the middle", "forgets last"];
    const modes = this.current.models[Number(this.model.value)].layers[Number(this.layer.value)].modes;
    this.channel.replaceChildren(...modes.map(({ channel }, index) => new Option(`${channel}, ${ways[index]}`, index)));
    if (modes.length === ways.length) this.channel.value = 1;
  }

  draw(position) {
    this.position = position;
    if (this.body.hidden) return;
    const { kernel, input, output } = this.current.models[Number(this.model.value)].layers[Number(this.layer.value)].modes[Number(this.channel.value)];
    const convolved = output.map((_, t) => total(input.slice(0, t + 1).map((x, s) => kernel[t - s] * x)));
    const products = input.map((x, s) => (s <= position ? kernel[position - s] * x : 0));
    this.input.heading.textContent = `The channel's input x, and K̄ turned round and laid under position ${position + 1}`;
    this.product.heading.textContent = `Convolution: the ${position + 1} products K̄ x at this position, whose sum is y = ${convolved[position].toFixed(7)}`;
    this.output.heading.textContent = `Output y until here. Recurrence: one step h = Ā h + B̄ x from the state before, y = C h = ${output[position].toFixed(7)}`;
    const now = (at) => (at === position ? "--now" : "--bar");
    bars(this.kernel.canvas, kernel, (lag) => (lag <= position ? "--now" : "--faint"));
    bars(this.input.canvas, input, now, this.current.tokens);
    this.overlay(this.input.canvas, input.map((_, s) => (s <= position ? kernel[position - s] : 0)));
    bars(this.product.canvas, products, now);
    bars(this.output.canvas, output.map((y, t) => (t <= position ? y : 0)), now, this.current.tokens);
    const most = Math.max(...output.map((y, t) => Math.abs(y - convolved[t])));
    this.equal.textContent = `Convolution ${convolved[position].toFixed(7)}, recurrence ${output[position].toFixed(7)}; over the whole input they differ by ${most.toExponential(0)} at most. The skip D x is left out of both.`;
    for (const { canvas, heading } of [this.kernel, this.input, this.product, this.output]) describeCanvas(canvas, heading.textContent);
  }

  // The kernel as a line over the input's bars.
  overlay(canvas, numbers) {
    const pen = canvas.getContext("2d"), width = canvas.clientWidth, step = width / numbers.length;
    const most = Math.max(...numbers.map(Math.abs), 1e-30);
    pen.strokeStyle = colour("--now");
    pen.lineWidth = 2;
    pen.beginPath();
    numbers.slice(0, this.position + 1).forEach((value, s) => pen.lineTo((s + 0.5) * step, 45 - value / most * 43));
    pen.stroke();
  }
}
