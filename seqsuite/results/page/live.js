"use strict";
// Runs a model in the page: what Python described (models/portable.py), position after position, in doubles.

// Replaces what stands for a tensor by its numbers, once.
function openModel(described) {
  const binary = atob(described.weights), raw = new Uint8Array(binary.length);
  for (let i = 0; i < raw.length; i += 1) raw[i] = binary.charCodeAt(i);
  const view = new DataView(raw.buffer), numbers = new Float64Array(raw.length / 4);
  for (let i = 0; i < numbers.length; i += 1) numbers[i] = view.getFloat32(4 * i, true);
  function open(part) {
    if (part === null || typeof part !== "object") return part;
    if (Array.isArray(part)) return part.map(open);
    if ("at" in part) {
      const size = part.shape.reduce((product, side) => product * side, 1);
      return { shape: part.shape, values: numbers.subarray(part.at, part.at + size) };
    }
    return Object.fromEntries(Object.entries(part).map(([name, inner]) => [name, open(inner)]));
  }
  const { weights, ...rest } = described;
  return open(rest);
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const silu = (x) => x * sigmoid(x);
const softplus = (x) => (x > 20 ? x : Math.log1p(Math.exp(x)));

// The error function by Abramowitz and Stegun, 7.1.26: wrong by 1.5e-7 at most.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - sum * Math.exp(-x * x));
}
const gelu = (x) => 0.5 * x * (1 + erf(x / Math.SQRT2));

function linear(x, { weight, bias }) {
  const [rows, columns] = weight.shape, y = new Float64Array(rows);
  for (let row = 0, at = 0; row < rows; row += 1) {
    let sum = bias ? bias.values[row] : 0;
    for (let column = 0; column < columns; column += 1, at += 1) sum += weight.values[at] * x[column];
    y[row] = sum;
  }
  return y;
}

function normalise(x, norm) {
  const mean = norm.centred ? x.reduce((sum, v) => sum + v, 0) / x.length : 0;
  const square = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length;
  const scale = 1 / Math.sqrt(square + norm.eps);
  return x.map((v, d) => (v - mean) * scale * norm.weight.values[d] + (norm.bias ? norm.bias.values[d] : 0));
}

const add = (x, y) => x.map((v, d) => v + y[d]);

// The short causal convolution of each channel, then SiLU.
function convolve(inputs, { conv_weight: weight, conv_bias: bias }) {
  const taps = weight.shape[1];
  return inputs.map((x, t) => x.map((_, d) => {
    let sum = bias ? bias.values[d] : 0;
    for (let k = 0; k < taps; k += 1) {
      const from = t - (taps - 1) + k;
      if (from >= 0) sum += weight.values[d * taps + k] * inputs[from][d];
    }
    return silu(sum);
  }));
}

// Selective scan: h = exp(ΔA) h + Δ B x, y = C h + D x.
function s6(inputs, p) {
  const [width, states] = p.A.shape, rank = p.dt_proj.shape[1];
  const seen = { kind: "s6", delta: [], decay: [], state: [], C: [] };
  let h = new Float64Array(width * states);
  const outputs = inputs.map((x) => {
    const projected = linear(x, { weight: p.x_proj });
    const B = p.B ? p.B.values : projected.subarray(rank, rank + states); // of each channel, or of all
    const C = p.C ? p.C.values : projected.subarray(projected.length - states);
    const delta = linear(projected.subarray(0, rank), { weight: p.dt_proj, bias: p.dt_bias }).map(softplus);
    const decay = p.A.values.map((a, at) => Math.exp(delta[Math.floor(at / states)] * a));
    h = h.map((v, at) => {
      const d = Math.floor(at / states);
      return decay[at] * v + delta[d] * x[d] * B[at % B.length];
    });
    seen.delta.push(delta); seen.decay.push(decay); seen.state.push(h); seen.C.push(C);
    return x.map((v, d) => {
      let sum = p.D.values[d] * v;
      for (let at = d * states; at < (d + 1) * states; at += 1) sum += h[at] * C[at % C.length];
      return sum;
    });
  });
  return [outputs, seen];
}

// A time-invariant recurrence: `step` takes a state (its real and imaginary parts) and an input to the next state. A
// complex state stands for itself and its conjugate.
function invariant(inputs, p, step) {
  const [width, states] = p.A.shape, size = width * states, complex = p.A_imag !== null;
  const zeros = () => new Float64Array(size);
  const Cr = p.C.values, Ci = complex ? p.C_imag.values : zeros();
  const readOut = (re, im) => Float64Array.from({ length: width }, (_, d) => {
    let sum = 0;
    for (let at = d * states; at < (d + 1) * states; at += 1) sum += Cr[at] * re[at] - Ci[at] * im[at];
    return complex ? 2 * sum : sum;
  });
  const seen = { kind: "invariant", delta: p.delta.values, kernel: [], input: inputs, state: [], output: [] };
  const silence = new Float64Array(width);
  let [re, im] = step(zeros(), zeros(), new Float64Array(width).fill(1)); // its readings are the kernel
  let [hRe, hIm] = [zeros(), zeros()];
  const outputs = inputs.map((x) => {
    seen.kernel.push(readOut(re, im));
    [re, im] = step(re, im, silence);
    [hRe, hIm] = step(hRe, hIm, x);
    seen.state.push({ states, values: hRe.map((v, at) => Math.hypot(v, hIm[at])) });
    seen.output.push(readOut(hRe, hIm));
    return seen.output[seen.output.length - 1].map((y, d) => y + p.D.values[d] * x[d]);
  });
  return [outputs, seen];
}

// S4D: Ā = exp(ΔA), B̄ = (Ā − 1) / A.
function s4d(inputs, p) {
  const [width, states] = p.A.shape, size = width * states;
  const zeros = () => new Float64Array(size);
  const Ar = zeros(), Ai = zeros(), Br = zeros(), Bi = zeros(), ai = p.A_imag === null ? zeros() : p.A_imag.values;
  for (let at = 0; at < size; at += 1) {
    const dt = p.delta.values[Math.floor(at / states)], a = p.A.values[at], square = a * a + ai[at] * ai[at];
    const grown = Math.expm1(dt * a), half = Math.sin(dt * ai[at] / 2), turn = dt * ai[at];
    const real = grown * Math.cos(turn) - 2 * half * half, imag = (grown + 1) * Math.sin(turn); // Ā − 1, not cancelled
    Ar[at] = real + 1; Ai[at] = imag;
    Br[at] = (real * a + imag * ai[at]) / square; Bi[at] = (imag * a - real * ai[at]) / square;
  }
  return invariant(inputs, p, (re, im, x) => {
    const nextRe = zeros(), nextIm = zeros();
    for (let at = 0; at < size; at += 1) {
      const fed = x[Math.floor(at / states)];
      nextRe[at] = Ar[at] * re[at] - Ai[at] * im[at] + Br[at] * fed;
      nextIm[at] = Ar[at] * im[at] + Ai[at] * re[at] + Bi[at] * fed;
    }
    return [nextRe, nextIm];
  });
}

// S4: A = Λ − P P*, by the bilinear rule: (1 − Δ/2 A) h' = (1 + Δ/2 A) h + Δ B x, solved by the Woodbury identity.
function s4(inputs, p) {
  const [width, states] = p.A.shape, size = width * states;
  const Pr = p.P.values, Pi = p.P_imag.values, Br = p.B.values, Bi = p.B_imag.values;
  const inverse = [new Float64Array(size), new Float64Array(size)], spread = [new Float64Array(size), new Float64Array(size)];
  // P* v, over both halves of the conjugate pairs of a channel.
  function project([re, im], d) {
    let sum = 0;
    for (let at = d * states; at < (d + 1) * states; at += 1) sum += Pr[at] * re[at] + Pi[at] * im[at];
    return 2 * sum;
  }
  for (let at = 0; at < size; at += 1) {
    const half = p.delta.values[Math.floor(at / states)] / 2;
    const real = 1 - half * p.A.values[at], imag = -half * p.A_imag.values[at], square = real * real + imag * imag;
    inverse[0][at] = real / square; inverse[1][at] = -imag / square;
    spread[0][at] = inverse[0][at] * Pr[at] - inverse[1][at] * Pi[at];
    spread[1][at] = inverse[0][at] * Pi[at] + inverse[1][at] * Pr[at];
  }
  const damped = p.delta.values.map((dt, d) => 1 + dt / 2 * project(spread, d));
  return invariant(inputs, p, (re, im, x) => {
    const next = [new Float64Array(size), new Float64Array(size)];
    for (let d = 0; d < width; d += 1) {
      const half = p.delta.values[d] / 2, fed = project([re, im], d);
      for (let at = d * states; at < (d + 1) * states; at += 1) {
        const a = p.A.values[at], b = p.A_imag.values[at];
        const real = re[at] + half * (a * re[at] - b * im[at] - Pr[at] * fed + 2 * Br[at] * x[d]);
        const imag = im[at] + half * (a * im[at] + b * re[at] - Pi[at] * fed + 2 * Bi[at] * x[d]);
        next[0][at] = inverse[0][at] * real - inverse[1][at] * imag;
        next[1][at] = inverse[0][at] * imag + inverse[1][at] * real;
      }
      const correction = half * project(next, d) / damped[d];
      for (let at = d * states; at < (d + 1) * states; at += 1) {
        next[0][at] -= spread[0][at] * correction;
        next[1][at] -= spread[1][at] * correction;
      }
    }
    return next;
  });
}

function rotate(head, t, base) {
  const half = head.length / 2, turned = new Float64Array(head.length);
  for (let i = 0; i < half; i += 1) {
    const angle = t * base ** (-i / half), cos = Math.cos(angle), sin = Math.sin(angle);
    turned[i] = head[i] * cos - head[half + i] * sin;
    turned[half + i] = head[i] * sin + head[half + i] * cos;
  }
  return turned;
}

function softmax(scores) {
  const most = Math.max(...scores), raised = scores.map((score) => Math.exp(score - most));
  const sum = raised.reduce((total, v) => total + v, 0);
  return raised.map((v) => v / sum);
}

function attention(inputs, p) {
  const wide = p.qkv.weight.shape[0], size = wide / (p.n_heads + 2 * p.n_kv_heads);
  const shared = p.n_heads / p.n_kv_heads, keys = [], values = [];
  const seen = { kind: "attention", weights: Array.from({ length: p.n_heads }, () => []) };
  const outputs = inputs.map((x, t) => {
    const heads = linear(x, p.qkv), head = (index) => heads.subarray(index * size, (index + 1) * size);
    const turn = (v) => (p.rotary_base === null ? v : rotate(v, t, p.rotary_base));
    const each = Array.from({ length: p.n_kv_heads }, (_, index) => index);
    keys.push(each.map((index) => turn(head(p.n_heads + index))));
    values.push(each.map((index) => head(p.n_heads + p.n_kv_heads + index)));
    const mixed = new Float64Array(p.n_heads * size);
    for (let h = 0; h < p.n_heads; h += 1) {
      const query = turn(head(h)), of = Math.floor(h / shared);
      const weights = softmax(keys.map((key) => key[of].reduce((sum, v, i) => sum + v * query[i], 0) / Math.sqrt(size)));
      seen.weights[h].push(weights);
      weights.forEach((weight, s) => values[s][of].forEach((v, i) => { mixed[h * size + i] += weight * v; }));
    }
    return linear(mixed, p.out_proj);
  });
  return [outputs, seen];
}

const MIXERS = { s6, s4, s4d, attention };
const mix = (inputs, mixer) => MIXERS[mixer.mixer](inputs, mixer);

const BLOCKS = {
  mamba(xs, p) {
    const wide = xs.map((x) => linear(normalise(x, p.norm), p.in_proj)), inner = wide[0].length / 2;
    const [ys, seen] = mix(convolve(wide.map((both) => both.subarray(0, inner)), p), p.mixer);
    const gated = ys.map((y, t) => y.map((v, d) => v * silu(wide[t][inner + d])));
    return [xs.map((x, t) => add(x, linear(gated[t], p.out_proj))), seen];
  },
  plain(xs, p) {
    const [ys, seen] = mix(xs.map((x) => normalise(x, p.norm)), p.mixer);
    return [xs.map((x, t) => {
      const both = linear(ys[t].map(gelu), p.out_proj);
      return x.map((v, d) => v + both[d] * sigmoid(both[x.length + d]));
    }), seen];
  },
  transformer(xs, p) {
    const [ys, seen] = mix(xs.map((x) => normalise(x, p.mixer_norm)), p.mixer);
    return [xs.map((x, t) => {
      const mixed = add(x, ys[t]), hidden = linear(normalise(mixed, p.mlp_norm), p.up_proj), half = hidden.length / 2;
      const active = p.gated ? hidden.subarray(0, half).map((v, i) => silu(v) * hidden[half + i]) : hidden.map(gelu);
      return add(mixed, linear(active, p.down_proj));
    }), seen];
  },
};

// Returns the logits at each position, and what each layer decided.
function runModel(model, ids) {
  const width = model.embedding.shape[1];
  const row = (table, index) => table.values.slice(index * width, (index + 1) * width);
  let xs = ids.map((id, t) => (model.positions ? add(row(model.embedding, id), row(model.positions, t)) : row(model.embedding, id)));
  const layers = model.layers.map((layer) => {
    const [next, seen] = BLOCKS[layer.block](xs, layer);
    xs = next;
    return seen;
  });
  return { logits: xs.map((x) => linear(normalise(x, model.norm), { weight: model.head })), layers };
}
