// Q and V along an episode, with the least Q, the ensemble's spread and the threshold.
'use strict';

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const round = (x, digits = 1) => (x === null ? '–' : x.toFixed(digits).replace('-', '−'));

// `points` are [step, q, v, spread, whether a person acts], where one of them changes.
function draw(canvas, state, points) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = '12px system-ui, sans-serif';
  const shown = points.filter((point) => point[1] !== null);
  if (!shown.length) {
    pen.fillStyle = css('--soft');
    pen.textAlign = 'center';
    pen.fillText('No values of this episode yet', width / 2, height / 2);
    canvas.setAttribute('aria-label', 'Q and V along the episode: none yet');
    return;
  }
  const going = state.phase === 'recording';
  const end = Math.max(going ? state.step : 0, points[points.length - 1][0], state.hz);
  const spread = (point) => point[3] || 0;
  const level = state.q_threshold;
  const ys = shown.flatMap((p) => [p[1] - spread(p), p[1] + spread(p), ...(p[2] === null ? [] : [p[2]])]);
  if (level !== null) ys.push(level);
  let [low, high] = [Math.min(...ys), Math.max(...ys)];
  const room = Math.max(0.08 * (high - low), 0.5);
  [low, high] = [low - room, high + room];
  const box = {left: 44, right: width - 6, top: 6, bottom: height - 20};
  const x = (step) => box.left + (box.right - box.left) * step / end;
  const y = (value) => box.bottom - (box.bottom - box.top) * (value - low) / (high - low);

  pen.fillStyle = css('--human') + '33';
  points.forEach((point, i) => {
    if (!point[4]) return;
    const until = i + 1 < points.length ? points[i + 1][0] : end;
    pen.fillRect(x(point[0]), box.top, Math.max(x(until) - x(point[0]), 1), box.bottom - box.top);
  });
  axes(pen, box, x, y, low, high, end);

  const runs = [];  // pieces of the policy, each up to where it stops acting
  points.forEach((point, i) => {
    if (point[1] === null) return;
    if (!i || points[i - 1][1] === null) runs.push([]);
    const run = runs[runs.length - 1];
    const until = i + 1 < points.length ? points[i + 1][0] : end;
    run.push(point, [until, ...point.slice(1)]);  // a chunk is judged once: it holds until the next
  });
  for (const run of runs) {
    pen.beginPath();
    run.forEach((p) => pen.lineTo(x(p[0]), y(p[1] + spread(p))));
    run.slice().reverse().forEach((p) => pen.lineTo(x(p[0]), y(p[1] - spread(p))));
    pen.fillStyle = css('--q') + '40';
    pen.fill();
    line(pen, run.filter((p) => p[2] !== null).map((p) => [x(p[0]), y(p[2])]), css('--v'), 1.5);
    line(pen, run.map((p) => [x(p[0]), y(p[1])]), css('--q'), 2.5);
  }
  let least = Infinity;
  const minima = [];
  for (const point of shown) {
    if (minima.length) minima.push([x(point[0]), y(least)]);
    least = Math.min(least, point[1]);
    minima.push([x(point[0]), y(least)]);
  }
  minima.push([x(end), y(least)]);
  line(pen, minima, css('--least'), 1.5, [3, 4]);
  if (level !== null) {
    line(pen, [[box.left, y(level)], [box.right, y(level)]], css('--bad'), 1.5, [8, 4]);
    pen.fillStyle = css('--bad');
    pen.textAlign = 'left';
    const above = y(level) - box.top > 18;
    pen.fillText('warns below', box.left + 5, y(level) + (above ? -5 : 14));
  }
  canvas.setAttribute('aria-label', `Q along the episode: now ${round(shown[shown.length - 1][1])}, `
    + `least ${round(least)}, after ${end} steps`);
}

function axes(pen, box, x, y, low, high, end) {
  pen.strokeStyle = css('--line');
  pen.fillStyle = css('--soft');
  pen.lineWidth = 1;
  pen.textAlign = 'right';
  const step = nice((high - low) / 6);
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    pen.beginPath();
    pen.moveTo(box.left, y(value));
    pen.lineTo(box.right, y(value));
    pen.stroke();
    pen.fillText(round(value, step < 1 ? 1 : 0), box.left - 5, y(value) + 4);
  }
  pen.textAlign = 'center';
  const wide = nice(end / 5);
  for (let value = wide; value < 0.97 * end; value += wide) {
    pen.fillText(String(Math.round(value)), x(value), box.bottom + 15);
  }
  pen.textAlign = 'left';
  pen.fillText('step', box.left, box.bottom + 15);
}

function line(pen, places, colour, width, dash = []) {
  pen.beginPath();
  places.forEach(([px, py]) => pen.lineTo(px, py));
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.setLineDash(dash);
  pen.stroke();
  pen.setLineDash([]);
}

function nice(about) {
  const power = 10 ** Math.floor(Math.log10(about));
  return power * [1, 2, 5, 10].find((times) => times * power >= about * 0.999);
}
