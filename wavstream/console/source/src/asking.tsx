/** A dialog that asks for words before something is done that cannot be undone. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { visible } from "./words";

interface Field {
  name: string;
  label: string;
}

interface Props {
  title: string;
  text: string;
  verb: string;
  fields: Field[];
  act: (values: Record<string, string>) => Promise<void>;
  close: () => void;
}

export function Asking({ title, text, verb, fields, act, close }: Props): JSX.Element {
  const box = useRef<HTMLDialogElement>(null);
  const [said, setSaid] = useState("");
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    box.current?.showModal();
  }, []);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const values = Object.fromEntries(
      [...new FormData(event.currentTarget as HTMLFormElement)].map(([name, value]) => [name, String(value).trim()]),
    );
    const missing = fields.find((each) => !values[each.name]);
    if (missing) {
      setSaid(`${missing.label}: say something.`);
      return;
    }
    setBusy(true);
    try {
      await act(values);
      box.current?.close(); // which gives the focus back
    } catch (problem) {
      setSaid((problem as Error).message);
    } finally {
      setBusy(false);
    }
  };
  return (
    <dialog ref={box} onClose={close} aria-labelledby="asking">
      <form onSubmit={submit}>
        <h2 id="asking">{title}</h2>
        <p>{text}</p>
        {fields.map((each) => (
          <label key={each.name}>
            {each.label}
            <input name={each.name} required maxLength={256} autocomplete="off" />
          </label>
        ))}
        <p role="alert">{said && visible(said)}</p>
        <div class="buttons">
          <button type="submit" class="main" disabled={isBusy}>
            {verb}
          </button>
          <button type="button" onClick={() => box.current?.close()}>
            Cancel
          </button>
        </div>
      </form>
    </dialog>
  );
}
