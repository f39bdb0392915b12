"use strict";
// Audio in place of words: the waveform up to the current sample, with Δ below, and playing it.

class WaveStrip {
  constructor(go) {
    this.root = element("div");
    this.canvas = element("canvas", "wide");
    this.canvas.addEventListener("click", (event) => {
      const box = this.canvas.getBoundingClientRect();
      go(Math.floor((event.clientX - box.left) / box.width * this.wave.length));
    });
    this.root.append(this.canvas);
  }

  show(input) { this.wave = input.wave; }

  draw({ position, step, largest }) {
    const width = Math.max(this.canvas.clientWidth, 1), tall = 150, middle = 50, below = 110, sharp = devicePixelRatio || 1;
    this.canvas.width = width * sharp; this.canvas.height = tall * sharp; this.canvas.style.height = `${tall}px`;
    const pen = this.canvas.getContext("2d"), length = this.wave.length, now = (position + 1) / length * width;
    pen.scale(sharp, sharp);
    const loudest = Math.max(...this.wave.map(Math.abs), 1e-6);
    for (let x = 0; x < width; x += 1) {
      const from = Math.floor(x / width * length), to = Math.max(from + 1, Math.floor((x + 1) / width * length));
      const part = this.wave.slice(from, to), high = Math.max(...part) / loudest, low = Math.min(...part) / loudest;
      pen.globalAlpha = x <= now ? 1 : 0.3;
      pen.fillStyle = colour("--bar");
      pen.fillRect(x, middle - 48 * high, 1, Math.max(1, 48 * (high - low)));
      const delta = step(from);
      if (delta !== null) pen.fillRect(x, tall - (tall - below) * delta / largest, 1, (tall - below) * delta / largest);
    }
    pen.globalAlpha = 1;
    pen.fillStyle = colour("--now");
    pen.fillRect(Math.min(now, width - 2), 0, 2, tall);
    describeCanvas(this.canvas, `Waveform of ${length} samples, played to sample ${position + 1}; below it Δ`);
  }
}

// A WAV file of samples in [-1, 1] as an address: 16 bits, mono.
function wavAddress(wave, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * wave.length));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * wave.length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * wave.length, true);
  wave.forEach((sample, i) => view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, sample))), true));
  return URL.createObjectURL(new Blob([view.buffer], { type: "audio/wav" }));
}

// Plays a wave from a position on; `moved` hears where it is, `ended` that it is over. Returns how to stop it.
function playWave(wave, rate, from, moved, ended) {
  const audio = new Audio(wavAddress(wave, rate));
  let playing = true;
  const stop = () => { playing = false; audio.pause(); URL.revokeObjectURL(audio.src); };
  function follow() {
    if (!playing) return;
    if (audio.ended) { moved(wave.length - 1); stop(); ended(); return; }
    moved(Math.min(wave.length - 1, Math.floor(audio.currentTime * rate)));
    requestAnimationFrame(follow);
  }
  audio.currentTime = from / rate;
  audio.play().then(follow, () => { if (playing) { stop(); ended(); } });
  return stop;
}
