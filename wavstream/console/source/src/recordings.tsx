/** What was recorded: a search whose filters are in the address, page by page. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { go, to, useQuery } from "./address";
import { type Page, type Recording, ask } from "./api";
import { Later } from "./later";
import { END, Foreign, Moment, STATUS, clockTime, visible } from "./words";

const PAGE = "50";
const STATUSES = ["accepted", "ongoing", "paused", "completed", "available", "absent", "failed", "expired", "deleted"];
/** Filters of the address, by the name of the API's parameter. */
const FIELDS = ["q", "session_id", "party", "status", "end_reason", "since", "until", "longer_than_s", "shorter_than_s", "metadata", "held"];

const TIMES = new Set(["since", "until"]);
/** Those that may be given more than once; one to a line. */
const SEVERAL = "metadata";

/** Returns what the API is asked for by an address of the page. */
export function asApi(asked: URLSearchParams): URLSearchParams {
  const params = new URLSearchParams({ limit: PAGE });
  for (const name of FIELDS) for (const value of asked.getAll(name)) if (value) params.append(name, TIMES.has(name) ? inUtc(value) : value);
  const cursor = asked.get("cursor");
  if (cursor) params.set("cursor", cursor);
  return params;
}

/** Returns a time of the zone of who looks as one that means the same everywhere: an address is sent to colleagues. */
function inUtc(local: string): string {
  const ms = Date.parse(local);
  return Number.isFinite(ms) ? new Date(ms).toISOString() : local;
}

/** Returns it as a field for a local time takes it. */
function inZone(utc: string): string {
  const at = new Date(utc);
  if (!Number.isFinite(at.getTime())) return "";
  const part = (n: number, digits = 2): string => String(n).padStart(digits, "0");
  const day = `${part(at.getFullYear(), 4)}-${part(at.getMonth() + 1)}-${part(at.getDate())}`;
  return `${day}T${part(at.getHours())}:${part(at.getMinutes())}:${part(at.getSeconds())}.${part(at.getMilliseconds(), 3)}`;
}

const saidPart = () => import("./found_said");

/** `transcribes`: whether this server makes transcripts, which are looked through apart from all else. */
export function Recordings({ transcribes }: { transcribes: boolean }): JSX.Element {
  const asked = useQuery();
  const [page, setPage] = useState<Page<Recording> | null>(null);
  const [said, setSaid] = useState("");
  const [again, setAgain] = useState(0);
  const address = asked.toString();
  const words = asked.get("said") ?? "";
  useEffect(() => {
    document.title = "Recordings - wavstream";
  }, []);
  useEffect(() => {
    if (words) return undefined; // of that another part asks
    const leaving = new AbortController();
    setSaid("");
    ask<Page<Recording>>(`v1/recordings?${asApi(asked)}`, { signal: leaving.signal }).then(setPage, (problem: Error) => {
      if (problem.name === "AbortError") return;
      setSaid(problem.message);
      setPage(null); // what was found before is not what was asked for
    });
    return () => leaving.abort();
  }, [address, again]);

  const search = (event: SubmitEvent): void => {
    event.preventDefault();
    const params: [string, string][] = [["view", "recordings"]];
    for (const [name, value] of new FormData(event.currentTarget as HTMLFormElement)) {
      // Names may begin or end with a space, words that are looked for do not.
      for (const each of String(value).split(name === SEVERAL ? "\n" : /^$/)) {
        const wanted = name === "session_id" ? each : each.trim();
        if (wanted) params.push([name, TIMES.has(name) ? inUtc(wanted) : wanted]);
      }
    }
    go(to(params));
    setAgain((n) => n + 1);
  };
  const searchSaid = (event: SubmitEvent): void => {
    event.preventDefault();
    const given = String(new FormData(event.currentTarget as HTMLFormElement).get("said") ?? "").trim();
    go(to(given ? { view: "recordings", said: given } : { view: "recordings" }));
  };
  const field = (name: string, label: string, more: JSX.IntrinsicElements["input"] = {}): JSX.Element => (
    <label>
      {label}
      <input
        name={name}
        defaultValue={TIMES.has(name) ? inZone(asked.get(name) ?? "") : (asked.get(name) ?? "")}
        maxLength={512}
        autocomplete="off"
        {...more}
      />
    </label>
  );
  const choice = (name: string, label: string, names: Record<string, string>): JSX.Element => (
    <label>
      {label}
      <select name={name} defaultValue={asked.get(name) ?? ""}>
        <option value="">any</option>
        {asked.get(name) && !(asked.get(name)! in names) && (
          <option value={asked.get(name)!} selected>
            {asked.get(name)}
          </option>
        )}
        {Object.entries(names).map(([value, text]) => (
          <option key={value} value={value} selected={asked.get(name) === value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
  // A search ends after a while: its page is not full then, and there may be more behind it.
  const isCut = page !== null && page.next_cursor !== null && page.data.length < Number(PAGE);
  const newest = [...asked].filter(([name]) => name !== "cursor");
  const older = to([...newest, ["cursor", page?.next_cursor ?? ""]]);
  const isNarrowed = FIELDS.slice(1).some((name) => asked.get(name));
  return (
    <>
      <h1 tabIndex={-1}>Recordings</h1>
      {(transcribes || words) && (
        <form class="filters" role="search" aria-label="What was said" onSubmit={searchSaid} key={`said ${words}`}>
          <label>
            Said in it (words, all of them)
            <input name="said" type="search" defaultValue={words} maxLength={256} autocomplete="off" />
          </label>
          <button type="submit">Find what was said</button>
        </form>
      )}
      {words && (
        <>
          <p>
            <a href={to({ view: "recordings" })}>All recordings</a>
          </p>
          <Later part={saidPart} props={{ said: words, cursor: asked.get("cursor") ?? "" }} />
        </>
      )}
      {!words && (
        <>
          <form class="filters" role="search" aria-label="Recordings" onSubmit={search} key={FIELDS.flatMap((name) => asked.getAll(name)).join("\n")}>
            {field("q", "Find", { type: "search", placeholder: "id, session or party" })}
            {choice("status", "Status", Object.fromEntries(STATUSES.map((each) => [each, STATUS[each] ?? each])))}
            <details open={isNarrowed}>
              <summary>More filters</summary>
              <div class="filters">
                {field("session_id", "Session id, exactly")}
                {field("party", "Party (* at its end: begins so)")}
                {choice("end_reason", "Why it ended", END)}
                {field("since", "From", { type: "datetime-local", step: "any" })}
                {field("until", "Before", { type: "datetime-local", step: "any" })}
                {field("longer_than_s", "At least, seconds", { type: "number", min: 0, step: "any" })}
                {field("shorter_than_s", "Shorter than, seconds", { type: "number", min: 0, step: "any" })}
                <label>
                  Metadata (name:value, one to a line)
                  <textarea name="metadata" rows={Math.max(1, asked.getAll("metadata").length)} autocomplete="off" defaultValue={asked.getAll("metadata").join("\n")} />
                </label>
                {choice("held", "Legal hold", { true: "held", false: "not held" })}
              </div>
            </details>
            <button type="submit" class="main">
              Search
            </button>
            <a href={to({ view: "recordings" })}>Clear</a>
          </form>
          {said && <p role="alert">{visible(said)}</p>}
          <p role="status" class="unseen">
            {page ? `${page.data.length} recordings on this page` : ""}
          </p>
          {page === null && !said && <p class="empty">Asking the server ...</p>}
          {page && page.data.length === 0 && !isCut && <p class="empty">No recording fits.</p>}
          {page && page.data.length > 0 && <Table recordings={page.data} />}
          {isCut && (
            <p class="empty">
              {page.data.length ? "So much was found so far" : "Nothing was found so far"}, and there are older ones: <a href={older}>look further back</a>.
            </p>
          )}
          <nav class="pages" aria-label="Pages of the list">
            {asked.has("cursor") && (
              <a href={to(newest)}>Newest</a>
            )}
            {page?.next_cursor && <a href={older}>Older</a>}
          </nav>
        </>
      )}
    </>
  );
}

function Table({ recordings }: { recordings: Recording[] }): JSX.Element {
  return (
    <table>
      <thead>
        <tr>
          {["Session", "Parties", "Begun", "Length", "State", "App"].map((each) => (
            <th scope="col" key={each}>
              {each}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {recordings.map((each) => (
          <tr key={each.id}>
            <th scope="row">
              <a href={to({ recording: each.id })}>
                <Foreign text={each.session_id} most={60} />
              </a>
            </th>
            <td>
              <Foreign text={each.from} most={40} />
              {each.from || each.to ? " → " : ""}
              <Foreign text={each.to} most={40} />
            </td>
            <td>
              <Moment at={each.started_at ?? each.created_at} />
            </td>
            <td class="number">{each.duration_ms === null ? "" : clockTime(each.duration_ms / 1000, 1)}</td>
            <td>
              <span class={`state ${each.status}`}>{STATUS[each.status] ?? each.status}</span>
              {each.hold && " held"}
              {each.end_reason && <span class="quiet"> {END[each.end_reason] ?? each.end_reason}</span>}
            </td>
            <td>
              <Foreign text={each.app_id} most={40} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
