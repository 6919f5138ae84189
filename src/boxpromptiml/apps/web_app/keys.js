// Keyboard shortcuts: a key presses the visible button that carries it as the class "key-…".
() => {
  const names = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down", Enter: "enter" };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    const focused = event.key === "Enter" && event.target.closest("button, a, [role=tab]");
    if (typing || focused || event.altKey || event.metaKey) return;
    const held = event.ctrlKey ? "ctrl-" : event.shiftKey ? "shift-" : "";
    let key = held + (names[event.key] || event.key.toLowerCase());
    if (key === "ctrl-z") key = "u";
    if (!/^[a-z-]+$/.test(key) || (event.repeat && !held)) return;
    const button = [...document.querySelectorAll(`.key-${key}`)].find((each) => each.offsetParent !== null);
    if (!button || button.disabled) return;
    event.preventDefault();
    button.click();
  });
};
