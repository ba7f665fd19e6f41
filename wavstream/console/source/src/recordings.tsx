/** What was recorded: a search whose filters are in the address, page by page. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { go, to, useQuery } from "./address";
import { type Page, type Recording, ask } from "./api";
import { END, Foreign, Moment, STATUS, clockTime, visible } from "./words";

const PAGE = "50";
const STATUSES = ["accepted", "ongoing", "paused", "completed", "available", "absent", "failed", "expired", "deleted"];
/** Filters of the address, by the name of the API's parameter. */
const FIELDS = ["q", "session_id", "party", "status", "end_reason", "since", "until", "longer_than_s", "shorter_than_s", "metadata", "held"];

/** Returns what the API is asked for by an address of the page. */
export function asApi(asked: URLSearchParams): URLSearchParams {
  const params = new URLSearchParams({ limit: PAGE });
  for (const name of FIELDS) {
    const value = asked.get(name)?.trim();
    if (!value) continue;
    // A field for a local time has no zone: it means the zone of who looks.
    const isTime = name === "since" || name === "until";
    const ms = isTime ? Date.parse(value) : Number.NaN;
    params.set(name, Number.isFinite(ms) ? new Date(ms).toISOString() : value);
  }
  const cursor = asked.get("cursor");
  if (cursor) params.set("cursor", cursor);
  return params;
}

export function Recordings(): JSX.Element {
  const asked = useQuery();
  const [page, setPage] = useState<Page<Recording> | null>(null);
  const [said, setSaid] = useState("");
  const [again, setAgain] = useState(0);
  const address = asked.toString();
  useEffect(() => {
    document.title = "Recordings - wavstream";
  }, []);
  useEffect(() => {
    const leaving = new AbortController();
    setSaid("");
    ask<Page<Recording>>(`v1/recordings?${asApi(asked)}`, { signal: leaving.signal }).then(setPage, (problem: Error) => {
      if (problem.name !== "AbortError") setSaid(problem.message);
    });
    return () => leaving.abort();
  }, [address, again]);

  const search = (event: SubmitEvent): void => {
    event.preventDefault();
    const params: Record<string, string> = { view: "recordings" };
    for (const [name, value] of new FormData(event.currentTarget as HTMLFormElement)) {
      if (typeof value === "string" && value.trim()) params[name] = value.trim();
    }
    go(to(params));
    setAgain((n) => n + 1);
  };
  const field = (name: string, label: string, more: JSX.IntrinsicElements["input"] = {}): JSX.Element => (
    <label>
      {label}
      <input name={name} defaultValue={asked.get(name) ?? ""} maxLength={512} autocomplete="off" {...more} />
    </label>
  );
  const choice = (name: string, label: string, names: Record<string, string>): JSX.Element => (
    <label>
      {label}
      <select name={name} defaultValue={asked.get(name) ?? ""}>
        <option value="">any</option>
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
  const older = to({ ...Object.fromEntries(asked), cursor: page?.next_cursor ?? "" });
  const isNarrowed = FIELDS.slice(1).some((name) => asked.get(name));
  return (
    <>
      <h1 tabIndex={-1}>Recordings</h1>
      <form class="filters" role="search" onSubmit={search} key={FIELDS.map((name) => asked.get(name)).join("\n")}>
        {field("q", "Find", { type: "search", placeholder: "id, session or party" })}
        {choice("status", "Status", Object.fromEntries(STATUSES.map((each) => [each, STATUS[each] ?? each])))}
        <details open={isNarrowed}>
          <summary>More filters</summary>
          <div class="filters">
            {field("session_id", "Session id, exactly")}
            {field("party", "Party (* at its end: begins so)")}
            {choice("end_reason", "Why it ended", END)}
            {field("since", "From", { type: "datetime-local" })}
            {field("until", "Before", { type: "datetime-local" })}
            {field("longer_than_s", "At least, seconds", { type: "number", min: 0, step: "any" })}
            {field("shorter_than_s", "Shorter than, seconds", { type: "number", min: 0, step: "any" })}
            {field("metadata", "Metadata (name:value)")}
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
          <a href={to(Object.fromEntries([...asked].filter(([name]) => name !== "cursor")))}>Newest</a>
        )}
        {page?.next_cursor && <a href={older}>Older</a>}
      </nav>
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
