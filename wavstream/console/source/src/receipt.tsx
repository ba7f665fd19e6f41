/** The receipt of a recording in words: what is in the file, and what is not. */

import type { JSX } from "preact";
import type { Recording } from "./api";
import { END, Foreign, Moment, bytes, clockTime, seconds, visible } from "./words";

/** Returns sentences; the first says whether all of the call is there. */
export function sentences(recording: Recording): string[] {
  const found = recording.integrity;
  if (!found || !recording.audio_sha256) return []; // nobody knows before it is finished
  const said: string[] = [];
  const ms = (n: number): string => seconds(n / 1000);
  const many = (n: number, one: string, more = `${one}s`): string => `${n} ${n === 1 ? one : more}`;
  const gaps = found.gaps.length + found.gaps_omitted;
  const gapMs = found.gaps.reduce((sum, each) => sum + each.length_ms, 0);
  if (gaps) said.push(`${many(gaps, "gap")}, together ${found.gaps_omitted ? "more than " : ""}${ms(gapMs)}: nothing came from a leg, and the file has silence there.`);
  if (found.lost_ms) said.push(`${ms(found.lost_ms)} were lost on the way here.`);
  if (found.late_ms) said.push(`${ms(found.late_ms)} came too late, when their place was written already, and were dropped.`);
  if (found.paused_ms) said.push(`${ms(found.paused_ms)} came while the recording was paused, and were not kept.`);
  if (found.trimmed_ms?.start) said.push(`${ms(found.trimmed_ms.start)} of silence were cut from its beginning.`);
  if (found.trimmed_ms?.end) said.push(`${ms(found.trimmed_ms.end)} of silence were cut from its end.`);
  if (found.after_limit_ms) said.push(`${ms(found.after_limit_ms)} came after its greatest length, and were not kept.`);
  if (found.clipped_samples) said.push(`${many(found.clipped_samples, "sample")} were too loud, and were cut to full scale.`);
  if (found.reordered_frames) said.push(`${many(found.reordered_frames, "frame")} came in another order, and were put where they were said.`);
  if (found.duplicate_frames) said.push(`${many(found.duplicate_frames, "frame")} came twice, and count once.`);
  if (found.clock_restarts) said.push(`A sender's clock began anew ${many(found.clock_restarts, "time")}.`);
  return said.length ? said : ["All that was sent is in the file: no gap, no loss, nothing late."];
}

export function Receipt({ recording }: { recording: Recording }): JSX.Element {
  const facts: [string, JSX.Element | string | null][] = [
    ["Parties", recording.from || recording.to ? <><Foreign text={recording.from} /> → <Foreign text={recording.to} /></> : null],
    ["Begun", recording.started_at ? <Moment at={recording.started_at} /> : null],
    ["Ended", recording.ended_at ? <Moment at={recording.ended_at} /> : null],
    ["Why it ended", recording.end_reason ? (END[recording.end_reason] ?? recording.end_reason) : null],
    ["Length", recording.duration_ms === null ? null : clockTime(recording.duration_ms / 1000, 2)],
    ["File", [recording.format, recording.channels, recording.sample_rate ? `${recording.sample_rate / 1000} kHz` : null, recording.size_bytes === null ? null : bytes(recording.size_bytes)].filter(Boolean).join(", ")],
    ["Erased by itself", recording.hold ? "not while it is held" : recording.expires_at ? <Moment at={recording.expires_at} /> : null],
    ["App", <Foreign text={recording.app_id} />],
    ["Id", <code>{visible(recording.id)}</code>],
    ["SHA-256 of the audio", recording.audio_sha256 ? <code class="hash">{visible(recording.audio_sha256)}</code> : null],
  ];
  const said = sentences(recording);
  const metadata = Object.entries(recording.metadata ?? {});
  return (
    <div class="columns">
      <section class="card" aria-labelledby="receipt">
        <h2 id="receipt">Receipt</h2>
        {recording.error && (
          <p class="reason">
            <Foreign text={recording.error} />
          </p>
        )}
        {said.length > 0 && (
          <ul class="said">
            {said.map((each) => (
              <li key={each}>{each}</li>
            ))}
          </ul>
        )}
        <dl>
          {facts.map(([name, value]) =>
            value === null || value === "" ? null : (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ),
          )}
        </dl>
      </section>
      {(recording.legs?.length ?? 0) > 0 && (
        <section class="card" aria-labelledby="legs">
          <h2 id="legs">Legs</h2>
          {recording.legs!.map((each, at) => (
            <p key={at}>
              <strong>
                <Foreign text={each.leg} most={60} />
              </strong>{" "}
              {each.track}, {each.channel}: {each.dialect}, {each.codec}, {each.rate / 1000} kHz, from {clockTime(each.joined_ms / 1000, 1)} to{" "}
              {clockTime(each.left_ms / 1000, 1)}
              {each.pace !== null && `, ${each.pace.toFixed(2)}× real time`}
              {recording.integrity?.drift_ppm[each.leg] !== undefined && `, drift ${recording.integrity.drift_ppm[each.leg]} ppm`}
              {each.suspicions.map((text) => (
                <span class="reason" key={text}>
                  {visible(text)}
                </span>
              ))}
            </p>
          ))}
        </section>
      )}
      {metadata.length > 0 && (
        <section class="card" aria-labelledby="metadata">
          <h2 id="metadata">Metadata</h2>
          <dl>
            {metadata.map(([name, value]) => (
              <div key={name}>
                <dt>
                  <Foreign text={name} most={100} />
                </dt>
                <dd>
                  <Foreign text={typeof value === "string" ? value : JSON.stringify(value)} most={4_096} />
                </dd>
              </div>
            ))}
          </dl>
        </section>
      )}
    </div>
  );
}
