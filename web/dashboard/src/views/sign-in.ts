import { Refused } from "../api";
import { fill, h } from "../dom";

/** The form that asks for a read token. */
export function signIn(enter: (token: string) => Promise<void>, why?: string): Node {
  const field = h("input", {
    id: "token",
    name: "token",
    type: "password",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "qr_…",
    "aria-describedby": "token-about token-trouble",
  });
  const trouble = h("p", { id: "token-trouble", class: "trouble", role: "alert" }, why);
  const button = h("button", { type: "submit" }, "Sign in");
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    button.disabled = true;
    fill(trouble);
    try {
      await enter(field.value.trim());
    } catch (error) {
      fill(trouble, error instanceof Refused ? error.message : "Something went wrong.");
      field.select();
      field.focus();
    }
    button.disabled = false;
  };
  setTimeout(() => field.focus());
  return h(
    "section",
    { class: "alone" },
    h("h1", {}, "Sign in to the statistics"),
    h("p", {}, "What is counted here is shown only where enough people or devices took part."),
    h(
      "form",
      { submit },
      h("label", { for: "token" }, "Read token"),
      field,
      h("p", { id: "token-about", class: "about" }, h("code", {}, "quorate reader add NAME"), " makes one. It is kept in this tab until you sign out or close it."),
      trouble,
      button,
    ),
  );
}
