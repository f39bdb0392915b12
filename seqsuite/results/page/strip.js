"use strict";
// The row of tokens with what was let in above and what is kept below, and the lines between them.

class TokenStrip {
  constructor(row, go) {
    this.row = row; this.go = go;
    this.root = element("div", row ? "tokens rows" : "tokens");
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", "Tokens: how much was let in, what is kept, and how far the answer moves without each");
    this.cells = [];
  }

  show(input) {
    this.tokens = input.tokens;
    this.root.classList.toggle("words", !this.row && total(this.tokens.map((token) => token.length)) > 2 * this.tokens.length);
    this.cells = input.tokens.map((label, t) => this.cell(label, t));
    const places = (t) => (this.row && t % this.row === 0 ? [element("span", "place", String(t + 1))] : []);
    this.root.replaceChildren(...this.cells.flatMap((cell, t) => [...places(t), cell]));
  }

  cell(label, t) {
    const cell = element("button", "token"), gauge = element("span", "gauge");
    cell.type = "button";
    cell.tabIndex = -1;
    cell.bar = element("i");
    gauge.append(cell.bar);
    const held = (name) => { const bar = element("span", `bar ${name}`), box = element("span", "held"); box.append(bar); return [bar, box]; };
    const [kept, keptBox] = held("kept"), [without, withoutBox] = held("without");
    Object.assign(cell, { kept, without });
    cell.append(element("span", "word", seen(label)), gauge, keptBox, withoutBox);
    cell.addEventListener("click", () => this.go(t));
    return cell;
  }

  draw({ position, step, largest, held, heldName, without, layer }) {
    this.cells.forEach((cell, t) => {
      const delta = step(t), share = held && t <= position ? held[position][t] : null;
      cell.bar.style.height = `${delta === null ? 0 : 100 * delta / largest}%`;
      cell.kept.style.height = `${12 * (share ?? 0)}px`;
      cell.without.style.height = `${12 * (without ? without[t] : 0)}px`;
      cell.setAttribute("aria-current", String(t === position));
      const { top, widest } = layer.delta ?? {};
      const parts = [`${t + 1}: ${this.tokens[t]}`];
      if (delta !== null) parts.push(`Δ ${short4(delta)}`);
      if (top) parts.push(`opened most: ${top[t].map(([channel, value]) => `channel ${channel} ${short4(value)}`).join(", ")}`);
      if (widest) parts.push(`channels that open widest here: ${widest[t]}`);
      if (share !== null) parts.push(`${heldName} ${short4(share)}`);
      if (without) parts.push(`without it the last answer moves by ${short4(without[t])}`);
      cell.title = parts.join("; ");
      cell.setAttribute("aria-label", cell.title);
    });
    if (this.row) this.reveal(this.cells[position]);
  }

  // Rows of DNA are wider than a phone: the strip is scrolled to a cell, the page is left where it is.
  reveal({ offsetLeft: left, offsetWidth: width }) {
    const { scrollLeft: from, clientWidth: wide } = this.root;
    if (left < from + 0.2 * wide || left + width > from + wide) this.root.scrollLeft = left - wide / 2;
  }
}

// The middles of cells that stand in one row, or null if they wrap.
function centresOf(cells) {
  if (!cells.length || cells.some((cell) => cell.offsetTop !== cells[0].offsetTop)) return null;
  return cells.map((cell) => cell.offsetLeft + cell.offsetWidth / 2);
}

const short4 = (x) => String(Number(x.toPrecision(4)));

// A line from each earlier token to the current one, as thick as what is left of it.
class Lines {
  constructor() {
    this.root = svgElement("svg", { class: "lines", role: "img" });
  }

  // `centres` are those of the tokens below, where they stand in one row; else the lines have labels of their own.
  draw({ tokens, position, shares, title, centres }) {
    const width = Math.max(this.root.clientWidth, 100), step = width / tokens.length, labelled = !centres && tokens.length <= 64 && step >= 9;
    const floor = labelled ? 68 : 64;
    const at = (t) => (centres ? centres[t] : (t + 0.5) * step), children = [svgElement("title", {}, title)];
    this.root.classList.toggle("bare", !labelled);
    for (let s = 0; s < position; s += 1) {
      const high = floor - Math.min(62, 10 + 70 * (position - s) / tokens.length);
      const line = svgElement("path", {
        d: `M${at(s)} ${floor} C${at(s)} ${high} ${at(position)} ${high} ${at(position)} ${floor}`,
        "stroke-width": Math.max(0.15, 7 * shares[s]), "stroke-opacity": Math.max(0.15, Math.min(1, 0.3 + shares[s])),
      });
      line.append(svgElement("title", {}, `${tokens[s]}: ${short4(shares[s])}`));
      children.push(line);
    }
    children.push(svgElement("circle", { cx: at(position), cy: floor, r: 4, fill: colour("--now") }));
    if (labelled) {
      tokens.forEach((token, t) => children.push(svgElement("text", {
        transform: `translate(${at(t) - 3} ${floor + 14}) rotate(${token.length > 1 ? 50 : 0})`, "font-weight": t === position ? 700 : 400,
      }, seen(token))));
    }
    this.root.replaceChildren(...children);
    this.root.setAttribute("aria-label", title);
  }
}
