// What the page shows, and how it speaks: see cockpit.py for the other side.
'use strict';

const SILENT = 1500;  // ms without a state, after which the connection counts as lost

const clock = (ms) => new Date(ms).toLocaleTimeString('en-GB');
const at = (id) => document.getElementById(id);

let COMMANDS = [];  // {name, key, title, help} of each, as the recorder's side tells
let socket = null;
let heard = 0;  // when the last state came
let began = 0;  // when the connection was asked for
let since = Date.now();  // the connection is lost
let asked = 0;  // number of the last command
let state = null;
let points = [];
const waiting = new Map();  // commands without an answer
const pictures = new Map();  // cameras
let refused = false;  // the key
let ended = '';  // what was said when the robot's program closed this page

// The connection

function connect() {
  const mine = new WebSocket(`ws${location.protocol === 'https:' ? 's' : ''}://${location.host}/live`);
  mine.binaryType = 'arraybuffer';
  socket = mine;
  began = Date.now();
  mine.onopen = () => mine.send(JSON.stringify({key: keyOf()}));
  mine.onmessage = (message) => {
    if (mine !== socket) return;
    if (typeof message.data !== 'string') return showPicture(new Uint8Array(message.data));
    const told = JSON.parse(message.data);
    if ('answer' in told) return answered(told);
    if ('commands' in told) return makeButtons(told.commands);
    heard = Date.now();
    show(told);
    mine.send(JSON.stringify({seen: told.number}));
  };
  mine.onclose = (event) => {
    if (mine !== socket) return;
    refused = event.code === 4401;
    if (event.code === 4410) {
      const why = event.reason ? `: ${event.reason}` : '';
      ended = `The robot’s program ended at ${clock(Date.now())}${why}. `
        + 'No button works until it is started again; this page then goes on by itself.';
    }
    lose(refused ? 'This cockpit asks for its key.' : event.code === 1013 ? event.reason : '');
    if (refused) ask();
    else setTimeout(connect, 1000);
  };
}

function keyOf() {
  const told = new URLSearchParams(location.hash.slice(1)).get('key');
  if (told) {
    sessionStorage.setItem('key', told);
    history.replaceState(null, '', location.pathname);  // not to be read over a shoulder
  }
  return sessionStorage.getItem('key') || '';
}

function ask() {
  if (!at('ask').open) at('ask').showModal();
}

function lose(why) {
  if (!document.body.classList.contains('away')) since = Math.max(heard, since);
  document.body.classList.add('away');
  for (const [id, name] of waiting) {
    waiting.delete(id);
    answer(`Not known whether ${title(name)} arrived: look at the robot, then say it again.`, false);
  }
  at('lost').hidden = false;
  at('lost').classList.toggle('loud', !ended);
  document.body.classList.toggle('ended', ended !== '');
  set(at('lost'), why || ended || `Connection lost at ${clock(since)}, trying again. Nothing here is `
    + 'live and no button works. The robot’s program may go on: its keys work in its terminal, '
    + 'where that is open.');
  const phase = ended ? 'Program ended' : 'Not connected';
  set(at('phase'), phase);
  document.title = `${phase} – Cockpit`;
  set(at('who'), '');
  set(at('count'), '');
  document.body.classList.remove('paused', 'low', 'still');
}

function watchOver() {
  const open = socket && socket.readyState === WebSocket.OPEN;
  if (!refused && (!open || Date.now() - heard > SILENT)) {
    lose('');
    if (Date.now() - Math.max(heard, began) > 5000) socket.close();
  }
}

// Commands

const title = (name) => COMMANDS.find((each) => each.name === name).title;

function command(name) {
  if (document.body.classList.contains('away')) {
    const why = ended ? 'the robot’s program ended' : 'there is no connection';
    answer(`${title(name)} was not sent: ${why}.`, false);
    return;
  }
  asked += 1;
  waiting.set(asked, name);
  at(name).classList.add('pressed');
  setTimeout(() => at(name).classList.remove('pressed'), 250);
  answer(`${title(name)} …`, true);
  socket.send(JSON.stringify({command: name, id: asked, episode: state.episode}));
}

function answered(told) {
  waiting.delete(told.answer);
  answer(told.text, told.done);
}

function answer(text, done) {
  at('answer').textContent = text;
  at('answer').classList.toggle('bad', !done);
}

function press(event) {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const typed = event.target.closest && event.target.closest(
    'textarea, select, [contenteditable], dialog, input:not([type=checkbox])');
  if (typed || at('ask').open) return;
  const found = COMMANDS.find((each) => each.key === event.key.toLowerCase());
  if (found) {
    event.preventDefault();
    command(found.name);
  }
}

function makeButtons(commands) {
  if (COMMANDS.length) return;
  COMMANDS = commands;
  for (const {name, key, title: label, help} of commands) {
    const button = document.createElement('button');
    button.id = name;
    button.type = 'button';
    button.title = help;
    button.setAttribute('aria-keyshortcuts', key);
    const shown = document.createElement('span');
    shown.textContent = label;
    const cap = document.createElement('kbd');
    cap.textContent = key.toUpperCase();
    button.append(shown, cap);
    button.onclick = () => command(name);
    at('buttons').append(button);
  }
}

function fit() {
  const going = state.phase === 'recording';
  const human = state.who === 'human';
  const fits = {
    takeover: !human && state.may_take_over, release: human, success: going, failure: going,
    cut: state.phase !== 'paused' && state.phase !== 'stopped',
    next: state.phase === 'paused' || state.phase === 'stopped',
    discard: going || state.episode > 0, stop: state.phase !== 'stopped',
  };
  for (const [name, fitting] of Object.entries(fits)) {
    at(name).classList.toggle('unfit', !fitting);  // still pressed, to be told why
  }
  const last = going ? 'Discard this' : `Discard last${state.episode ? ` (${state.episode - 1})` : ''}`;
  set(at('discard').firstChild, last);
}

// What is seen

function set(element, text, bad) {
  if (element.textContent !== text) element.textContent = text;
  if (bad !== undefined) element.classList.toggle('bad', bad);
}

function show(told) {
  const before = state;
  state = told;
  const body = document.body.classList;
  body.remove('away', 'ended');
  ended = '';
  at('lost').hidden = true;
  at('beat').classList.toggle('on', told.number % 4 < 2);
  if (told.begins) points = [];
  points.push(...told.points);
  for (const name of ['recording', 'ready', 'paused', 'stopped']) body.toggle(name, told.phase === name);
  body.toggle('low', told.low);
  body.toggle('fell', told.fell);
  body.toggle('still', told.stalled_s > 0);
  showPhase(told);
  showWarning(told);
  showFacts(told);
  showCameras(told.cameras);
  fit();
  if (told.events) showEvents(told.events);
  if (before && !before.low && told.low) beep(3);
  draw(at('plot'), state, points);
}

function showPhase(told) {
  const seconds = Math.floor(told.phase_s);
  const phase = {
    recording: `Episode ${told.episode}`,
    ready: 'No episode yet',
    paused: 'Paused',
    stopped: 'Stopped',
  }[told.phase];
  set(at('phase'), phase);
  set(at('count'), {
    recording: `step ${told.step}, ${(told.step / told.hz).toFixed(1)} s`
      + (told.stalled_s ? `, stands for ${Math.floor(told.stalled_s)} s` : ''),
    ready: `episode ${told.episode} begins with the first action`,
    paused: `for ${seconds} s${told.waiting ? ', the robot’s program waits' : ''}: `
      + `put the scene back, then Next for episode ${told.episode}`,
    stopped: 'no episode begins unless you press Next',
  }[told.phase]);
  set(at('who'), told.acting);
  at('who').className = `pill ${told.acts}`;
  set(at('task'), told.task);
  document.title = `${phase}${told.low ? ' ⚠' : ''} – Cockpit`;
}

function showWarning(told) {
  const alarms = told.false_alarms === null ? ''
    : ` ${Math.round(100 * told.false_alarms)} % of successes fall below it too.`;
  let text = '';
  let loud = true;
  if (told.stalled_s) {
    text = 'The robot’s loop has taken no step for more than a second.';
  } else if (told.low) {
    text = `Q has fallen below ${round(told.q_threshold)}: be ready to take over.${alarms}`;
  } else if (told.fell && told.phase === 'recording') {
    [text, loud] = [`Q fell below ${round(told.q_threshold)} earlier in this episode.${alarms}`, false];
  }
  at('warning').hidden = !text;
  at('warning').classList.toggle('loud', loud);
  set(at('warning'), text);
}

function showFacts(told) {
  const current = told.who !== 'human' && told.phase === 'recording';
  set(at('q'), current ? round(told.q) : '–');
  set(at('v'), current ? round(told.v) : '–');
  set(at('least'), round(told.q_least));
  set(at('spread'), current ? round(told.spread, 2) : '–');
  const rate = told.real_hz === null ? '–' : told.real_hz.toFixed(1);
  set(at('rate'), `${rate} of ${+told.hz.toFixed(1)} Hz`,
    told.real_hz !== null && Math.abs(told.real_hz / told.hz - 1) > 0.1);
  set(at('latency'), told.latency_ms === null ? '–'
    : `${Math.round(told.latency_ms)} ms, ${told.delay_ticks} step${told.delay_ticks === 1 ? '' : 's'}`);
  const lost = Object.entries(told.lost).map(([camera, count]) => `${count} ${camera}`);
  set(at('images'), lost.join(', ') || 'none', lost.length > 0);
  const free = told.free_gb === null ? '' : `${told.free_gb.toFixed(told.free_gb < 10 ? 1 : 0)} GB free`;
  const queue = told.waiting_mb > 1 ? `, ${Math.round(told.waiting_mb)} MB wait` : '';
  set(at('disk'), free + queue, told.free_gb !== null && told.free_gb < 5 || told.waiting_mb > 100);
  set(at('checkpoint'), told.checkpoint === null || told.checkpoint === undefined ? '–'
    : `${told.checkpoint}, step ${told.checkpoint_step}`);
  set(at('threshold'), told.q_threshold === null ? 'The server tells no threshold to warn at.'
    : `Warns below ${round(told.q_threshold)}`
      + (told.false_alarms === null ? '.' : `: ${Math.round(100 * told.false_alarms)} % of held-out `
        + 'successes fell below it too.'));
}

function showCameras(cameras) {
  for (const [name, live] of Object.entries(cameras)) {
    if (!pictures.has(name)) {
      const figure = document.createElement('figure');
      const image = document.createElement('img');
      const caption = document.createElement('figcaption');
      image.alt = `Camera ${name}`;
      image.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=';
      figure.append(image, caption);
      at('cameras').append(figure);
      pictures.set(name, {figure, image, caption, url: ''});
    }
    const shown = pictures.get(name);
    shown.figure.classList.toggle('gone', !live);
    set(shown.caption, live ? name : `${name}: no picture`);
  }
}

function showPicture(data) {
  const name = new TextDecoder().decode(data.subarray(1, 1 + data[0]));
  if (!pictures.has(name)) showCameras({[name]: true});
  const shown = pictures.get(name);
  const url = URL.createObjectURL(new Blob([data.subarray(1 + data[0])]));
  shown.image.src = url;
  if (shown.url) URL.revokeObjectURL(shown.url);
  shown.url = url;
}

let lastLoud = null;

function showEvents(events) {
  at('events').replaceChildren(...events.slice().reverse().map((event) => {
    const line = document.createElement('li');
    const time = document.createElement('time');
    time.textContent = clock(1000 * event.time);
    line.append(time, event.text);
    line.classList.toggle('loud', event.loud);
    return line;
  }));
  const loud = events.filter((event) => event.loud).pop();
  if (loud && lastLoud !== null && loud.time > lastLoud && loud.kind !== 'low_q') beep(1);
  lastLoud = loud ? loud.time : 0;
}

let audio = null;

function beep(times) {
  if (!at('sound').checked) return;
  audio = audio || new AudioContext();
  for (let i = 0; i < times; i += 1) {
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = 880;
    volume.gain.value = 0.2;
    tone.connect(volume).connect(audio.destination);
    tone.start(audio.currentTime + 0.25 * i);
    tone.stop(audio.currentTime + 0.25 * i + 0.15);
  }
  if (navigator.vibrate) navigator.vibrate(200);
}

at('ask').addEventListener('close', () => {
  sessionStorage.setItem('key', at('key').value);
  at('key').value = '';
  refused = false;
  connect();
});
document.addEventListener('keydown', press);
window.addEventListener('resize', () => state && draw(at('plot'), state, points));
window.addEventListener('offline', () => lose(''));
setInterval(watchOver, 250);
connect();
