/** The controls of the player, by mouse and keyboard, and the marks as a list. Keys count while the focus is in here. */

import type { JSX } from "preact";
import { useEffect, useMemo, useReducer, useState } from "preact/hooks";
import { go } from "./address";
import type { Regions } from "./api";
import type { Channels, Player } from "./player";
import type { Waves } from "./waves";
import { Foreign, clockTime, seconds, visible } from "./words";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2, 3];
const KINDS: Record<string, string> = { gap: "Gap", pause: "Pause", trimmed: "Trimmed", late: "Late", lost: "Lost", limit: "Limit" };

interface Props {
  player: Player;
  waves: Waves;
  marks: Regions | null;
  /** From 0, all of it, to 1. */
  zoom: (closeness: number) => void;
}

export function Listening({ player, waves, marks, zoom }: Props): JSX.Element {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const [channels, setChannels] = useState<Channels>(player.channels);
  const [speed, setSpeed] = useState(1);
  const [skips, setSkips] = useState(false);
  const [zoomed, setZoomed] = useState(0);
  const { audio } = player;
  useEffect(() => {
    const leaving = new AbortController();
    const moved = (): void => draw(undefined as never);
    for (const name of ["timeupdate", "play", "pause", "seeked", "ended"]) audio.addEventListener(name, moved, { signal: leaving.signal });
    const settled = (): void => {
      go(`${location.search}#t=${Math.round(audio.currentTime * 10) / 10}`, { replace: true });
    };
    audio.addEventListener("pause", settled, { signal: leaving.signal });
    return () => leaving.abort();
  }, [player]);

  const change = (next: Partial<Channels>): void => {
    const all = { ...channels, ...next };
    setChannels(all);
    player.setChannels(all);
  };
  const mute = (at: 0 | 1): void => change({ muted: channels.muted.map((each, i) => (i === at ? !each : each)) as [boolean, boolean] });
  const setRate = (rate: number): void => {
    setSpeed(rate);
    player.speed = rate;
  };
  const toggle = (): void => {
    if (player.isPlaying) player.pause();
    else void player.play();
    draw(undefined as never);
  };
  const places = (marks?.regions ?? []).filter((each) => each.start_s !== null).map((each) => each.start_s!);
  const jump = (way: 1 | -1): void => {
    const at = audio.currentTime;
    const next = way > 0 ? places.find((each) => each > at + 0.2) : places.findLast((each) => each < at - 0.5);
    if (next !== undefined) player.seek(next);
  };
  const keys: Record<string, () => void> = {
    k: toggle,
    ArrowLeft: () => player.seek(audio.currentTime - 5),
    ArrowRight: () => player.seek(audio.currentTime + 5),
    ",": () => player.seek(audio.currentTime - 0.5),
    ".": () => player.seek(audio.currentTime + 0.5),
    Home: () => player.seek(0),
    End: () => player.seek(waves.durationS),
    n: () => jump(1),
    p: () => jump(-1),
    "+": () => setRate(SPEEDS.find((each) => each > speed) ?? speed),
    "-": () => setRate(SPEEDS.findLast((each) => each < speed) ?? speed),
    ...(waves.channels === 2
      ? { "1": () => mute(0), "2": () => mute(1), s: () => change({ isSwapped: !channels.isSwapped }) }
      : {}),
  };
  const pressed = (event: KeyboardEvent): void => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input:not([type=checkbox]), select")) return;
    const does = event.key === " " && !target.matches("button, input, a, summary") ? toggle : keys[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  };
  const list = useMemo(() => marks && marks.regions.length > 0 && <Marks marks={marks} player={player} />, [marks, player]);
  const toggleButton = (name: string, isOn: boolean, does: () => void): JSX.Element => (
    <button type="button" aria-pressed={isOn} onClick={does}>
      {name}
    </button>
  );
  return (
    <section class="player" aria-label="Player" onKeyDown={pressed}>
      <div class="buttons">
        <button type="button" class="main" onClick={toggle}>
          {player.isPlaying ? "Pause" : "Play"}
        </button>
        <span class="now">
          {clockTime(audio.currentTime, 1)} / {clockTime(waves.durationS, 1)}
          {!waves.isFinal && " "}
          {!waves.isFinal && <span class="state ongoing">grows</span>}
        </span>
        <label class="seek">
          <span class="unseen">Position</span>
          <input
            type="range"
            min={0}
            max={waves.durationS}
            step={0.1}
            value={audio.currentTime}
            aria-valuetext={clockTime(audio.currentTime, 1)}
            onInput={(event) => player.seek(event.currentTarget.valueAsNumber)}
          />
        </label>
        <label>
          Speed
          <select value={speed} onChange={(event) => setRate(Number(event.currentTarget.value))}>
            {SPEEDS.map((each) => (
              <option key={each} value={each} selected={each === speed}>
                {each}×
              </option>
            ))}
          </select>
        </label>
        <label class="tick">
          <input
            type="checkbox"
            checked={skips}
            onChange={(event) => {
              player.skipsSilence = event.currentTarget.checked;
              setSkips(event.currentTarget.checked);
            }}
          />
          Skip silence
        </label>
        <label>
          Zoom
          <input
            type="range"
            min={0}
            max={100}
            value={zoomed}
            onInput={(event) => {
              setZoomed(event.currentTarget.valueAsNumber);
              zoom(event.currentTarget.valueAsNumber / 100);
            }}
          />
        </label>
      </div>
      {waves.channels === 2 && (
        <div class="buttons" role="group" aria-label="Channels">
          {([0, 1] as const).map((at) => (
            <span class="pair" key={at}>
              {toggleButton(`Mute ${at ? "right" : "left"}`, channels.muted[at], () => mute(at))}
              {toggleButton(`Only ${at ? "right" : "left"}`, channels.solo === at, () => change({ solo: channels.solo === at ? null : at }))}
            </span>
          ))}
          {toggleButton("Swap", channels.isSwapped, () => change({ isSwapped: !channels.isSwapped }))}
        </div>
      )}
      {list}
      <details>
        <summary>Keys</summary>
        <p>
          While the focus is on the player: <kbd>k</kbd> or <kbd>Space</kbd> play, <kbd>←</kbd> <kbd>→</kbd> 5 s, <kbd>,</kbd> <kbd>.</kbd> half a second,{" "}
          <kbd>Home</kbd> <kbd>End</kbd>, <kbd>n</kbd> <kbd>p</kbd> next and previous mark, <kbd>+</kbd> <kbd>-</kbd> speed
          {waves.channels === 2 && (
            <>
              , <kbd>1</kbd> <kbd>2</kbd> mute left and right, <kbd>s</kbd> swap
            </>
          )}
          . A link to a second ends in <code>#t=63.2</code>; the address has it when you pause.
        </p>
      </details>
    </section>
  );
}

/** The marks in words; there may be a thousand, and where the player is changes nothing of them. */
function Marks({ marks, player }: { marks: Regions; player: Player }): JSX.Element {
  return (
    <section aria-label="Marks">
      <h2>Marks</h2>
      <ol class="marks">
        {marks.regions.map((each, at) => (
          <li key={at} data-kind={each.kind} data-start={each.start_s ?? ""}>
            {each.start_s === null ? (
              <span>{KINDS[each.kind] ?? each.kind}</span>
            ) : (
              <button type="button" onClick={() => player.seek(each.start_s!)}>
                {KINDS[each.kind] ?? each.kind} at {clockTime(each.start_s, 1)}
              </button>
            )}{" "}
            {visible(each.text)}
            {each.channel && <span class="quiet"> ({each.channel})</span>}
            {each.leg && <span class="unseen"> leg <Foreign text={each.leg} most={40} />, {seconds(each.length_s ?? each.end_s! - each.start_s!)}</span>}
          </li>
        ))}
      </ol>
      {marks.omitted > 0 && <p class="quiet">{marks.omitted} more are not listed.</p>}
    </section>
  );
}
