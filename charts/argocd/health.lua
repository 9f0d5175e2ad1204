-- Argo CD's health of a ModelDeployment, from its status (charts/forebay/README.md says how to install it).
-- Healthy: the gateway routes to instances of the wanted generation. Degraded: it can't get there by itself.
-- Suspended: its rollout waits for a person.
-- Everything between is Progressing, also while an older revision still serves.

local function find(conditions, kind)
  for _, condition in ipairs(conditions or {}) do
    if condition.type == kind then
      return condition
    end
  end
end

-- Whether a condition is true of the spec as it is now.
local function holds(condition)
  return condition ~= nil and condition.status == "True"
    and (condition.observedGeneration == nil or condition.observedGeneration == obj.metadata.generation)
end

local function say(status, condition, otherwise)
  if condition == nil or condition.message == nil or condition.message == "" then
    return {status = status, message = otherwise}
  end
  local reason = ""
  if condition.reason ~= nil and condition.reason ~= "" then
    reason = condition.reason .. ": "
  end
  return {status = status, message = reason .. condition.message}
end

local status = obj.status
if status == nil or status.conditions == nil then
  return say("Progressing", nil, "waiting for Forebay's operator to see it")
end
if status.observedGeneration ~= obj.metadata.generation then
  return say("Progressing", nil, "waiting for Forebay's operator to see the last change")
end

local ready, stalled = find(status.conditions, "Ready"), find(status.conditions, "Stalled")
if holds(stalled) then
  return say("Degraded", stalled, "it can't become ready by itself")
end
if ready ~= nil and ready.reason == "RolloutPaused" then
  return say("Suspended", ready, "its rollout waits for a person")
end
if holds(ready) then
  return say("Healthy", ready, "ready")
end
return say("Progressing", ready or find(status.conditions, "Progressing"), "not ready yet")
