/** Signing in: a key of an app becomes a cookie that no script can read. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type Refused, type Visitor, post } from "./api";

/** `hasEnded`: one was signed in, and is no more. */
export function SignIn({ hasEnded, done }: { hasEnded: boolean; done: (visitor: Visitor) => void }): JSX.Element {
  const [said, setSaid] = useState("");
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    document.title = "Sign in - wavstream";
  }, []);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const key = String(new FormData(form).get("key") ?? "").trim();
    setBusy(true);
    setSaid("");
    try {
      done(await post<Visitor>("console/sign-in", { key }));
    } catch (problem) {
      const { status, message, retryAfterS } = problem as Refused;
      if (status === 401) setSaid("No app has this key. It may have been revoked or rotated.");
      else if (status === 429) setSaid(`Too many wrong keys came from here. Try again in ${retryAfterS ?? 60} s.`);
      else setSaid(message);
    } finally {
      setBusy(false);
    }
  };
  return (
    <main class="sign-in">
      <h1 tabIndex={-1}>wavstream</h1>
      {hasEnded && (
        <p role="alert">You are not signed in any more: the key was revoked or rotated, or its eight hours are over. Sign in again to go on.</p>
      )}
      <form class="card" onSubmit={submit}>
        <p>Sign in with a key of your app. You see what this app records, and nothing else.</p>
        <label>
          Key
          <input name="key" type="password" required maxLength={512} autocomplete="current-password" aria-describedby="wrong" />
        </label>
        <button type="submit" class="main" disabled={isBusy}>
          Sign in
        </button>
        <p id="wrong" role="alert">
          {said}
        </p>
      </form>
    </main>
  );
}
