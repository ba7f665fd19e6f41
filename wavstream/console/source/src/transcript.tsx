/**
 * The words of a recording, beside its sound.
 *
 * 1. Four hours have tens of thousands of words: only segments in sight are in the document.
 * 2. One word can be reached by Tab, the others from it by arrows: nobody tabs through an hour.
 * 3. Words are inline, and a segment has the direction of its first letter: Hebrew, Arabic and what is mixed with them is set
 *    as one sentence. What could turn a direction around was made visible before (`visible`).
 * 4. Each channel has a word that plays: people speak at the same time.
 * 5. Words have a space between where the text of their segment has one: Chinese, Japanese and Thai have none, and each of
 *    their letters may be a word. What is looked for may lie over several words that have none between.
 */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Segment, type Transcript, ask, placeOf } from "./api";
import type { Player } from "./player";
import { VirtualList } from "./virtual_list";
import { Foreign, clockTime, visible } from "./words";

const LONG_MS = 120_000;
/** A word of no length is shown for so long as the one that plays. */
const LEAST_MS = 150;
/** An element that was sent to a second may say a little less. */
const EARLY_MS = 20;
const FOCUS_FRAMES = 6;
const LETTERS_PER_LINE = 48;
const LINE_PX = 28;
const HEAD_PX = 40;

interface Row {
  at: number;
  segment: Segment;
  speaker: string;
}

interface Spot {
  segment: number;
  word: number;
}

interface Place extends Spot {
  startMs: number;
  endMs: number;
}

const keyOf = ({ segment, word }: Spot): string => `${segment}:${word}`;
const folded = (text: string): string => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

export default function TranscriptPart({ id, player }: { id: string; player: Player }): JSX.Element {
  const [found, setFound] = useState<Transcript | null>(null);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    const leaving = new AbortController();
    ask<Transcript>(`${placeOf(id)}/transcript`, { signal: leaving.signal, waitMs: LONG_MS }).then(setFound, (problem: Error) => {
      if (problem.name !== "AbortError") setTrouble(problem.message);
    });
    return () => leaving.abort();
  }, [id]);
  if (trouble) return <p role="alert">{visible(trouble)}</p>;
  if (!found) return <p class="quiet">The transcript is being fetched ...</p>;
  if (found.segments.length === 0) return <p>Nobody speaks in it.</p>;
  return <Words transcript={found} player={player} />;
}

function Words({ transcript, player }: { transcript: Transcript; player: Player }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const rows = useMemo(() => rowsOf(transcript), [transcript]);
  const channels = useMemo(() => placesOf(transcript), [transcript]);
  const [playing, setPlaying] = useState("");
  const [spot, setSpot] = useState<Spot>({ segment: 0, word: 0 });
  const [reveal, setReveal] = useState<{ at: number } | null>(null);
  const [sought, setSought] = useState("");
  const [hitAt, setHitAt] = useState(-1);
  const [follows, setFollows] = useState(true);
  const follow = useRef(follows);
  follow.current = follows;
  const hits = useMemo(() => hitsOf(transcript, sought), [transcript, sought]);
  const hitKeys = useMemo(() => new Set(hits.map(keyOf)), [hits]);
  const isPlaying = new Set(playing.split(" "));

  useEffect(() => {
    const { audio } = player;
    const leaving = new AbortController();
    let frame = 0;
    let before = "";
    const look = (): void => {
      cancelAnimationFrame(frame);
      const now = channels.flatMap((each) => placeAt(each, audio.currentTime * 1000) ?? []);
      const keys = now.map(keyOf).join(" ");
      if (keys !== before) {
        before = keys;
        setPlaying(keys);
        const last = now.reduce<Place | null>((best, each) => (best && best.startMs > each.startMs ? best : each), null);
        if (last && follow.current && !audio.paused) setReveal({ at: last.segment });
      }
      if (!audio.paused) frame = requestAnimationFrame(look);
    };
    for (const name of ["play", "pause", "seeking", "seeked", "timeupdate"]) audio.addEventListener(name, look, { signal: leaving.signal });
    look();
    return () => {
      leaving.abort();
      cancelAnimationFrame(frame);
    };
  }, [player, channels]);

  const wordOf = ({ segment, word }: Spot) => transcript.segments[segment]!.words[word]!;
  const seek = (to: Spot): void => {
    setSpot(to);
    player.seek(wordOf(to).start_ms / 1000);
  };
  const jump = (way: 1 | -1): void => {
    if (hits.length === 0) return;
    const next = hitAt < 0 ? (way > 0 ? 0 : hits.length - 1) : (hitAt + way + hits.length) % hits.length;
    setHitAt(next);
    setReveal({ at: hits[next]!.segment });
    seek(hits[next]!);
  };
  /** Gives a word the focus, which may be in no document yet. */
  const focus = (to: Spot): void => {
    setSpot(to);
    setReveal({ at: to.segment });
    let tries = 0;
    const look = (): void => {
      const there = box.current?.querySelector<HTMLElement>(`[data-word="${keyOf(to)}"]`);
      if (there) there.focus({ preventScroll: true });
      else if ((tries += 1) < FOCUS_FRAMES) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  };
  const spotOf = (target: EventTarget | null): Spot | null => {
    const name = (target as Element | null)?.closest?.<HTMLElement>("[data-word]")?.dataset.word;
    if (!name) return null;
    const [segment, word] = name.split(":").map(Number);
    return { segment: segment!, word: word! };
  };
  const pressed = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = spotOf(event.target);
    if (!at) {
      // The box itself has the focus: into the first word that is in sight.
      if (event.key !== "Enter") return;
      const top = box.current!.getBoundingClientRect().top;
      const first = [...box.current!.querySelectorAll<HTMLElement>("[data-word]")].find((each) => each.getBoundingClientRect().top >= top);
      const to = spotOf(first ?? null);
      if (to) focus(to);
      return;
    }
    const to = event.key === "Enter" || event.key === " " ? at : moved(transcript, at, event.key);
    if (!to) return;
    event.preventDefault();
    if (to === at) seek(at);
    else focus(to);
  };
  const clicked = (event: MouseEvent): void => {
    const at = spotOf(event.target);
    if (at && (getSelection()?.isCollapsed ?? true)) seek(at); // who selects text to copy it goes nowhere
  };

  return (
    <>
      <search class="filters" aria-label="In the transcript">
        <label>
          Find in it
          <input
            type="search"
            autocomplete="off"
            maxLength={256}
            value={sought}
            onInput={(event) => {
              setSought(event.currentTarget.value);
              setHitAt(-1);
            }}
            onKeyDown={(event) => {
              if (event.key !== "Enter") return;
              event.preventDefault();
              jump(event.shiftKey ? -1 : 1);
            }}
          />
        </label>
        <span class="pair">
          <button type="button" disabled={hits.length === 0} onClick={() => jump(-1)}>
            Previous<span class="unseen"> hit</span>
          </button>
          <button type="button" disabled={hits.length === 0} onClick={() => jump(1)}>
            Next<span class="unseen"> hit</span>
          </button>
        </span>
        <label class="tick">
          <input type="checkbox" checked={follows} onChange={(event) => setFollows(event.currentTarget.checked)} />
          Follow what plays
        </label>
        <p class="start" role="status">
          {folded(sought).trim() && (hits.length === 0 ? "It was not said." : hitAt < 0 ? `${hits.length} ${hits.length === 1 ? "hit" : "hits"}` : `${hitAt + 1} of ${hits.length}`)}
        </p>
      </search>
      <div class="transcript" ref={box} role="group" tabIndex={0} aria-label="Words" onKeyDown={pressed} onClick={clicked}>
        <VirtualList label="Transcript" items={rows} id={(each) => String(each.at)} estimate={estimate} box={box} reveal={reveal}>
          {(row) => (
            <Line row={row} spot={spot.segment === row.at ? spot.word : -1} playing={isPlaying} hits={hitKeys} hit={hitAt < 0 ? "" : keyOf(hits[hitAt]!)} />
          )}
        </VirtualList>
      </div>
      <p class="quiet">
        A click on a word, or Enter, plays from there. Arrows go from word to word.
        {transcript.timing === "segment" && " The engine gave no times of words: they are spread over what was said in one go."}
      </p>
    </>
  );
}

interface LineProps {
  row: Row;
  /** The word that Tab reaches; -1: it is elsewhere. */
  spot: number;
  playing: Set<string>;
  hits: Set<string>;
  hit: string;
}

function Line({ row: { at, segment, speaker }, spot, playing, hits, hit }: LineProps): JSX.Element {
  const joined = useMemo(() => joinedOf(segment), [segment]);
  return (
    <>
      <p class="speaker">
        <strong>
          <Foreign text={speaker} most={60} />
        </strong>{" "}
        <span class="number quiet">{clockTime(segment.start_ms / 1000, 1)}</span>
      </p>
      <p class="spoken" dir="auto">
        {segment.words.flatMap(({ word }, number) => {
          const space = joined[number + 1] ? "" : " ";
          const key = `${at}:${number}`;
          const kinds = ["word", playing.has(key) && "plays", hits.has(key) && "hit", key === hit && "now-hit"].filter(Boolean).join(" ");
          const isPlaying = playing.has(key) ? "true" : undefined;
          return [
            <span key={number} class={kinds} role="button" tabIndex={number === spot ? 0 : -1} data-word={key} aria-current={isPlaying}>
              {visible(word)}
            </span>,
            space,
          ];
        })}
      </p>
    </>
  );
}

function rowsOf(transcript: Transcript): Row[] {
  const names = new Map(transcript.speakers.map((each) => [each.channel, each.legs.join(" and ") || each.side]));
  return transcript.segments.map((segment, at) => ({ at, segment, speaker: names.get(segment.channel) ?? "?" }));
}

/** Returns how high a segment will be, before it is measured. */
function estimate({ segment }: Row): number {
  return HEAD_PX + LINE_PX * Math.ceil((segment.text.length + 1) / LETTERS_PER_LINE);
}

/** Returns the words of each channel in the order in which they begin (rule 4). */
function placesOf(transcript: Transcript): Place[][] {
  const channels = new Map<number, Place[]>();
  transcript.segments.forEach((segment, at) => {
    const places = channels.get(segment.channel) ?? [];
    channels.set(segment.channel, places);
    segment.words.forEach((word, number) => places.push({ segment: at, word: number, startMs: word.start_ms, endMs: Math.max(word.end_ms, word.start_ms + LEAST_MS) }));
  });
  return [...channels.values()].map((each) => each.sort((a, b) => a.startMs - b.startMs));
}

/** Returns the word that is said at a moment; null: none. */
function placeAt(places: Place[], ms: number): Place | null {
  let [low, high] = [0, places.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle]!.startMs <= ms + EARLY_MS) low = middle + 1;
    else high = middle;
  }
  const last = places[low - 1];
  return last && ms < last.endMs ? last : null;
}

/** Returns which words of a segment follow the one before without a space (rule 5). */
function joinedOf({ text, words }: Segment): boolean[] {
  let end = -1;
  return words.map(({ word }) => {
    const at = text.indexOf(word, Math.max(end, 0));
    const isJoined = at >= 0 && at === end;
    end = at < 0 ? -1 : at + word.length;
    return isJoined;
  });
}

interface Run {
  text: string;
  /** Where each of its words begins in the text. */
  starts: number[];
  /** The number of the first of them. */
  first: number;
}

/** Returns the words of a segment, those without a space between as one (rule 5). */
function runsOf(segment: Segment): Run[] {
  const [joined, runs] = [joinedOf(segment), [] as Run[]];
  segment.words.forEach(({ word }, number) => {
    const last = joined[number] ? runs.at(-1) : undefined;
    if (last) {
      last.starts.push(last.text.length);
      last.text += folded(word);
    } else runs.push({ text: folded(word), starts: [0], first: number });
  });
  return runs;
}

/** Returns where words are that follow each other as they were looked for: each holds what stands at its place. */
function hitsOf(transcript: Transcript, sought: string): Spot[] {
  const wanted = folded(sought).split(/\s+/).filter(Boolean);
  const [beginning] = wanted;
  if (!beginning) return [];
  const found: Spot[] = [];
  transcript.segments.forEach((each, segment) => {
    const runs = runsOf(each);
    for (let at = 0; at + wanted.length <= runs.length; at += 1) {
      if (!wanted.every((word, i) => runs[at + i]!.text.includes(word))) continue;
      const { text, starts, first } = runs[at]!;
      const words = new Set<number>();
      let number = 0;
      for (let place = text.indexOf(beginning); place >= 0; place = text.indexOf(beginning, place + 1)) {
        while (number + 1 < starts.length && starts[number + 1]! <= place) number += 1;
        words.add(first + number);
      }
      words.forEach((word) => found.push({ segment, word }));
    }
  });
  return found;
}

/** Returns where a key leads from a word; null: nowhere. */
function moved({ segments }: Transcript, { segment, word }: Spot, key: string): Spot | null {
  const to: Record<string, () => Spot> = {
    ArrowRight: () => (word + 1 < segments[segment]!.words.length ? { segment, word: word + 1 } : { segment: segment + 1, word: 0 }),
    ArrowLeft: () => (word > 0 ? { segment, word: word - 1 } : { segment: segment - 1, word: (segments[segment - 1]?.words.length ?? 0) - 1 }),
    ArrowDown: () => ({ segment: segment + 1, word: 0 }),
    ArrowUp: () => ({ segment: segment - 1, word: 0 }),
    Home: () => ({ segment: 0, word: 0 }),
    End: () => ({ segment: segments.length - 1, word: 0 }),
  };
  const found = to[key]?.();
  return found && segments[found.segment]?.words[found.word] ? found : null;
}
