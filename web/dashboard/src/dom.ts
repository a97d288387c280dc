// Elements without a framework. Styles are set through the object model only: a style attribute in markup
// would need `unsafe-inline`.

export type Child = Node | string | number | null | undefined | false | Child[];

type Attributes = { [name: string]: unknown };

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value as EventListener);
    else if (name.startsWith("--")) element.style.setProperty(name, String(value));
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  append(element, children);
  return element;
}

export function append(parent: Node, children: Child[]): void {
  for (const child of children) {
    if (Array.isArray(child)) append(parent, child);
    else if (child instanceof Node) parent.appendChild(child);
    else if (child !== null && child !== undefined && child !== false)
      parent.appendChild(document.createTextNode(String(child)));
  }
}

export function fill(parent: Element, ...children: Child[]): void {
  parent.replaceChildren();
  append(parent, children);
}

/** A menu with a label. */
export function choice(
  label: string,
  options: { value: string; label: string }[],
  chosen: string,
  choose: (value: string) => void,
): HTMLElement {
  const select = h(
    "select",
    { "data-keep": label, change: (event: Event) => choose((event.target as HTMLSelectElement).value) },
    options.map(({ value, label }) => h("option", { value, selected: value === chosen }, label)),
  );
  return h("label", { class: "field" }, h("span", {}, label), select);
}

/** What may be wider than a phone, and can be moved with the keyboard too. */
export function wide(label: string, content: HTMLElement): HTMLElement {
  return h("div", { class: "wide", tabindex: 0, role: "region", "aria-label": label }, content);
}

/** Says something to those who listen to the page. */
export function announce(text: string): void {
  const place = document.querySelector("#announce");
  if (place) place.textContent = text;
}

/** A button that copies a text, and says so. */
export function copyButton(label: string, text: () => string): HTMLElement {
  const button = h("button", { type: "button", class: "quiet" }, label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
      announce("Copied");
    } catch {
      button.textContent = "Not allowed by the browser";
    }
    setTimeout(() => (button.textContent = label), 2_000);
  });
  return button;
}
