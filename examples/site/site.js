// Events of the shop's own, and the visitor's objection. The objection is remembered by the site, since it is the site
// that promised to; the tracker stores nothing.

// Stands in for the tracker until it has run, and for good where something blocks it.
window.quorate = Object.assign((...call) => window.quorate.q.push(call), {
  q: [],
  said: {},
  consent: (said) => Object.assign(window.quorate.said, said),
});

const objection = document.querySelector("#objection");
const recall = () => (objection.checked = localStorage.getItem("objects") === "yes");
const tell = () => window.quorate.consent({ website: !objection.checked });
if (recall()) tell();
// A page that comes back from the browser's cache may have missed a change of mind on another page.
addEventListener("pageshow", () => objection.checked !== recall() && tell());
objection.addEventListener("change", () => {
  if (objection.checked) localStorage.setItem("objects", "yes");
  else localStorage.removeItem("objects");
  tell();
});

document.querySelector("#order")?.addEventListener("click", () => window.quorate("purchase"));
