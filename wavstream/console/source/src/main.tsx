/** The frame of the page: who looks, where one is, and whether the server answers. */

import { type JSX, render } from "preact";
import { useEffect, useReducer, useState } from "preact/hooks";
import { followLinks, to, useQuery } from "./address";
import { type Visitor, ask, onSignedOut, post } from "./api";
import { Help } from "./help";
import { DeadLetters } from "./letters";
import { Live } from "./live";
import { live } from "./live_state";
import { RecordingPage } from "./recording";
import { Recordings } from "./recordings";
import { SignIn } from "./sign_in";
import "./style.css";
import { Foreign } from "./words";

const RETRY_MS = 2_000;
const VIEWS = new Set(["live", "recordings", "recording", "letters", "help"]);

function Page(): JSX.Element {
  const [visitor, setVisitor] = useState<Visitor | null>(null);
  const [isAway, setAway] = useState(false);
  const [hasEnded, setEnded] = useState(false);
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const asked = useQuery();

  const look = async (): Promise<void> => {
    try {
      setVisitor(await ask<Visitor>("console/session"));
      setAway(false);
    } catch {
      setAway(true);
      setTimeout(look, RETRY_MS);
    }
  };
  useEffect(() => {
    onSignedOut(() => {
      setEnded(true);
      void look();
    });
    void look();
  }, []);
  const isIn = visitor?.signed_in === true;
  useEffect(() => {
    if (!isIn) return undefined;
    live.open();
    const stop = live.listen(() => draw(undefined as never));
    return () => {
      stop();
      live.close();
    };
  }, [isIn]);

  if (visitor === null) return <main>{isAway && <Away />}</main>;
  if (!isIn) return <SignIn hasEnded={hasEnded} done={setVisitor} />;
  const view = asked.get("recording") ? "recording" : (asked.get("view") ?? "live");
  const signOut = async (): Promise<void> => {
    try {
      await post("console/sign-out");
    } finally {
      setEnded(false);
      await look();
    }
  };
  const link = (name: string, address: string, is: string[]): JSX.Element => (
    <a href={address} aria-current={is.includes(view) ? "page" : undefined}>
      {name}
    </a>
  );
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href="./">
          wavstream
        </a>
        <nav aria-label="Pages">
          {link("Live", "./", ["live"])}
          {link("Recordings", to({ view: "recordings" }), ["recordings", "recording"])}
          {link("Dead letters", to({ view: "letters" }), ["letters"])}
        </nav>
        <p class="who">
          <Foreign text={visitor.app_id} most={40} />
          {visitor.needs_key && (
            <button type="button" onClick={signOut}>
              Sign out
            </button>
          )}
        </p>
      </header>
      <div role="status" aria-live="polite">
        {live.connection === "lost" && <Away />}
        {live.connection === "full" && (
          <p class="banner">As many pages look at what is live as may (limits.live_pages, quotas.live_pages). This one tries until one is closed.</p>
        )}
        {live.wasUpdated && (
          <p class="banner">
            The server has a new version. <a href="">Load this page again</a>
          </p>
        )}
      </div>
      <main id="main" tabIndex={-1}>
        {view === "live" && <Live />}
        {view === "recordings" && <Recordings />}
        {view === "recording" && <RecordingPage key={asked.get("recording")!} id={asked.get("recording")!} />}
        {view === "letters" && <DeadLetters />}
        {view === "help" && <Help />}
        {!VIEWS.has(view) && (
          <>
            <h1 tabIndex={-1}>There is no such page</h1>
            <p>
              The address names one that the console does not have. <a href="./">What is live</a>
            </p>
          </>
        )}
      </main>
      <footer class="quiet">
        wavstream {visitor.version} · <a href={to({ view: "help" })}>Why is a leg silent?</a> · <a href="../docs">HTTP API</a>
      </footer>
    </>
  );
}

function Away(): JSX.Element {
  return <p class="banner">The server does not answer. It may be starting again; this page tries until it does.</p>;
}

followLinks();
render(<Page />, document.getElementById("page")!);
