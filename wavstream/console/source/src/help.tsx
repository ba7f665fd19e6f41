/** Why a leg is silent, and what mends it: a heading for each reason that the server gives. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";

interface Advice {
  title: string;
  /** Page and heading of the documents, as the server says it of the reason (`listening/reasons.py`). */
  docs: string;
  steps: string[];
}

export const ADVICE: Record<string, Advice> = {
  no_frames_yet: {
    title: "The stream is open, and nothing came",
    docs: "silent-recording.md#audio-that-is-not-understood",
    steps: [
      "Look whether the call was answered: most media servers send nothing before.",
      "Look which track is streamed. Twilio: track=\"both_tracks\". FreeSWITCH: the word stereo or mono in the command.",
      "If it stays so, the media server opened the WebSocket and does not send: its log says why.",
    ],
  },
  frames_stopped: {
    title: "Audio came, and stopped",
    docs: "silent-recording.md#a-sender-that-has-stopped",
    steps: [
      "Muted or on hold: many media servers send nothing then. It goes on by itself.",
      "Silence suppression (VAD, DTX) leaves silence out: the recording has silence there, of the right length.",
      "Else the link stalls: look at the arrival rate, and at the network between media server and recorder.",
    ],
  },
  frames_of_silence: {
    title: "Frames come, and there is silence in them",
    docs: "silent-recording.md#zeros",
    steps: [
      "Ask the party to speak: muted, on hold, or not yet bridged sounds so.",
      "If it should be heard now, the wrong track is sent: stream what the party says, not what it hears.",
      "Listen along on the recording's page, while somebody speaks.",
    ],
  },
  wrong_byte_order: {
    title: "Noise: the bytes are in the other order",
    docs: "silent-recording.md#described-wrongly",
    steps: ["Set byteorder in the address that the media server opens: big or little, the other one than now."],
  },
  wrong_format: {
    title: "Too much or too little audio comes in a second",
    docs: "silent-recording.md#described-wrongly",
    steps: [
      "Set rate, channels and codec in the address to what is really sent. An arrival rate of 2.0 is twice the rate, or two channels described as one.",
    ],
  },
  paused: {
    title: "Every recording of the call is paused",
    docs: "silent-recording.md#a-good-stream",
    steps: ["Resume it: the button is beside the recording. What is said meanwhile is in no file."],
  },
  not_recorded: {
    title: "Nothing records this call",
    docs: "silent-recording.md#a-good-stream",
    steps: ["Start a recording: the button is beside the call. It records from then on."],
  },
  held_back: {
    title: "The call is being brought back after a restart",
    docs: "silent-recording.md#a-server-that-is-busy-with-itself",
    steps: ["Wait: what it sends is kept, and recorded when that is done. It takes seconds."],
  },
  server_behind: {
    title: "The server's disk is behind",
    docs: "silent-recording.md#a-server-that-is-busy-with-itself",
    steps: [
      "Nothing is lost: the senders wait.",
      "If it lasts, look at the disk of the server (/readyz says what is wrong), and at what else writes to it.",
    ],
  },
  away: {
    title: "The stream was lost",
    docs: "silent-recording.md#a-stream-that-was-lost",
    steps: [
      "The leg goes on when the media server connects again, in the same recording.",
      "If it does not: look at the media server, and at proxies that end long connections.",
    ],
  },
};

export function Help(): JSX.Element {
  useEffect(() => {
    document.title = "Why is a leg silent - wavstream";
    document.getElementById(location.hash.slice(1))?.scrollIntoView();
  }, []);
  return (
    <>
      <h1 tabIndex={-1}>Why is a leg silent?</h1>
      <p>The live page gives one of these reasons beside each leg from which nothing is heard.</p>
      {Object.entries(ADVICE).map(([code, { title, docs, steps }]) => (
        <section id={code} key={code} class="card">
          <h2>{title}</h2>
          <ol>
            {steps.map((each) => (
              <li key={each}>{each}</li>
            ))}
          </ol>
          <p class="quiet">
            The API calls it <code>{code}</code>; more of it is in <code>docs/{docs}</code>.
          </p>
        </section>
      ))}
    </>
  );
}
