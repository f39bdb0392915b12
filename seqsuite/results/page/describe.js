"use strict";
// Turns what a model that ran in the page decided into what is drawn, as models/description.py does in Python.

const GROUPS = 4, ANSWERS = 6, OPENED = 3, STATES = 64, MODES = 3;
const MOST_WORK = 2e9; // multiply-adds of the runs without a token: some seconds

const total = (numbers) => numbers.reduce((sum, v) => sum + v, 0);
const average = (numbers) => total(numbers) / numbers.length;
const matrix = (rows, columns, value) => Array.from({ length: rows }, (_, t) => Array.from({ length: columns }, (__, s) => value(t, s)));

// The places of numbers in increasing order; of equal ones the first comes first.
const order = (numbers) => Array.from(numbers, (_, place) => place).sort((a, b) => numbers[a] - numbers[b] || a - b);

// Cuts a list into so many parts, the first ones longer by one where it does not divide.
function parts(list, count) {
  const least = Math.floor(list.length / count), longer = list.length % count;
  let start = 0;
  return Array.from({ length: count }, (_, part) => list.slice(start, start += least + (part < longer ? 1 : 0)));
}

const groupNames = (count) => Array.from({ length: count }, (_, group) => `channels ${group + 1} of ${count}, by time constant`);

function largest(numbers, count) {
  return order(Array.from(numbers, (v) => -v)).slice(0, count).map((place) => [place, numbers[place]]);
}

function sharesOf(read) {
  return read.map((row) => { const sum = Math.max(total(row), 1e-30); return row.map((v) => v / sum); });
}

// Mean magnitudes of states by time constant, neighbours together where they are many.
function statesOf(states, width, count, channels) {
  const rows = parts(channels, Math.min(STATES, width));
  return states.map((h) => {
    const byChannel = channels.map((_, d) => average(Array.from(h.subarray(d * count, (d + 1) * count), Math.abs)));
    return rows.map((group) => average(group.map((d) => byChannel[d])));
  });
}

function describeSelective({ delta, decay, state, C }) {
  const length = delta.length, width = delta[0].length, size = state[0].length, states = size / width;
  const logs = decay.map((row) => row.map((v) => Math.log(Math.max(v, 1e-30))));
  const meanOf = (rows, at) => average(rows.map((row) => row[at]));
  const each = Array.from({ length: size }, (_, at) => at);
  const groups = parts(order(each.map((at) => meanOf(logs, at))), Math.min(GROUPS, size));
  const sums = [];
  logs.forEach((row, t) => sums.push(t ? add(sums[t - 1], row) : row));
  const kept = groups.map((group) => matrix(length, length, (t, s) => (
    s > t ? 0 : average(group.map((at) => Math.exp(sums[t][at] - sums[s][at]))))));
  const carried = [];
  const read = decay.map((now, t) => {
    carried.forEach((part) => part.forEach((v, at) => { part[at] = v * now[at]; }));
    carried.push(state[t].map((v, at) => v - (t ? now[at] * state[t - 1][at] : 0)));
    return Array.from({ length }, (_, s) => (s > t ? 0 : total(Array.from({ length: width }, (__, d) => {
      let sum = 0;
      for (let at = d * states; at < (d + 1) * states; at += 1) sum += carried[s][at] * C[t][at % C[t].length];
      return Math.abs(sum);
    }))));
  });
  const byChannel = Array.from({ length: width }, (_, d) => average(decay.map((row) => average(row.subarray(d * states, (d + 1) * states)))));
  const widest = new Array(length).fill(0);
  for (let d = 0; d < width; d += 1) widest[order(delta.map((row) => -row[d]))[0]] += 1;
  return {
    delta: { mean: delta.map(average), top: delta.map((row) => largest(row, Math.min(OPENED, width))), widest },
    memory: { kind: "decay", groups: groupNames(groups.length), values: kept },
    read: sharesOf(read),
    state: statesOf(state, width, states, order(byChannel)),
    modes: null,
  };
}

function describeInvariant({ delta, kernel, input, state, output }) {
  const length = input.length, width = delta.length;
  const magnitudes = Array.from({ length: width }, (_, d) => kernel.map((row) => Math.abs(row[d])));
  const channels = order(magnitudes.map((lags) => total(lags.map((v, lag) => v * lag)) / Math.max(total(lags), 1e-30)));
  const groups = parts(channels, Math.min(GROUPS, width));
  const shares = magnitudes.map((lags) => lags.map((v) => v / Math.max(...lags, 1e-30)));
  const means = groups.map((group) => kernel.map((_, lag) => average(group.map((d) => shares[d][lag]))));
  const read = matrix(length, length, (t, s) => (s > t ? 0 : total(magnitudes.map((lags, d) => lags[t - s] * Math.abs(input[s][d])))));
  const count = Math.min(MODES, width);
  const shown = Array.from({ length: count }, (_, at) => channels[Math.floor(at * (width - 1) / Math.max(count - 1, 1))]);
  return {
    delta: { mean: average(delta), top: null, widest: null },
    memory: { kind: "kernel", groups: groupNames(groups.length), values: means.map((lags) => matrix(length, length, (t, s) => (s > t ? 0 : lags[t - s]))) },
    read: sharesOf(read),
    state: statesOf(state.map((h) => h.values), width, state[0].states, channels),
    modes: shown.map((channel) => ({
      channel, kernel: kernel.map((row) => row[channel]), input: input.map((row) => row[channel]), output: output.map((row) => row[channel]),
    })),
  };
}

function describeAttention({ weights }) {
  const length = weights[0].length;
  const values = weights.map((rows) => matrix(length, length, (t, s) => rows[t][s] ?? 0));
  return {
    delta: null,
    memory: { kind: "weights", groups: values.map((_, head) => `head ${head + 1}`), values },
    read: sharesOf(matrix(length, length, (t, s) => average(values.map((rows) => rows[t][s])))),
    state: null,
    modes: null,
  };
}

const DESCRIBE = { s6: describeSelective, invariant: describeInvariant, attention: describeAttention };

// Bytes of the state after each position: of float32 numbers, as the models' own.
function stateBytes(model, length, bytesEach) {
  const sizes = model.layers.map(({ mixer, block, conv_weight: conv }) => {
    const history = block === "mamba" ? (conv.shape[1] - 1) * conv.shape[0] : 0;
    if (mixer.mixer === "attention") {
      const each = 2 * mixer.n_kv_heads * mixer.qkv.weight.shape[0] / (mixer.n_heads + 2 * mixer.n_kv_heads);
      return (t) => history + each * t + (mixer.rotary_base === null ? 0 : 1);
    }
    const numbers = mixer.A.shape[0] * mixer.A.shape[1] * (mixer.A_imag ? 2 : 1);
    return () => history + numbers;
  });
  return Array.from({ length }, (_, t) => bytesEach * total(sizes.map((size) => size(t + 1))));
}

// How far the last probabilities move without each token: half the sum of the absolute differences.
function withoutEach(model, ids, last) {
  const numbers = total(model.layers.map((layer) => countNumbers(layer)));
  if (ids.length < 2 || numbers * ids.length ** 2 > MOST_WORK) return null;
  return ids.map((_, place) => {
    const { logits } = runModel(model, ids.filter((__, other) => other !== place));
    return total(softmax(logits[logits.length - 1]).map((chance, at) => Math.abs(chance - last[at]))) / 2;
  });
}

function countNumbers(part) {
  if (part === null || typeof part !== "object") return 0;
  return part.values ? part.values.length : total(Object.values(part).map(countNumbers));
}

// What a live model makes of token ids; `names` are those of its outputs.
function describeModel(model, ids, names) {
  const ran = runModel(model, ids), last = softmax(ran.logits[ids.length - 1]);
  return {
    without: withoutEach(model, ids, last),
    state_bytes: stateBytes(model, ids.length, 4),
    answers: ran.logits.map((logits) => largest(softmax(logits), Math.min(ANSWERS, logits.length)).map(([place, chance]) => [names[place], chance])),
    layers: ran.layers.map((seen) => DESCRIBE[seen.kind](seen)),
  };
}

// Reads a sentence as the task does: words of a vocabulary, letters of DNA, or bytes of text.
function readTokens(reader, text) {
  if (reader.kind === "bytes") return Array.from(new TextEncoder().encode(text));
  const given = reader.kind === "words" ? text.split(/\s+/).filter(Boolean) : Array.from(text.replace(/\s/g, ""));
  const ids = given.map((part) => {
    const exact = reader.tokens.indexOf(part);
    const place = exact >= 0 ? exact : reader.tokens.indexOf(reader.kind === "words" ? part.toLowerCase() : part.toUpperCase());
    if (place < 0) {
      throw new RangeError(`“${part}” is not among the ${reader.tokens.length} ${reader.kind} that this task reads: ${reader.tokens.join(" ")}`);
    }
    return place;
  });
  const end = reader.end ? reader.tokens.indexOf(reader.end) : -1;
  return end >= 0 && ids.length && ids[ids.length - 1] !== end ? [...ids, end] : ids;
}
