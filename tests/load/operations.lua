-- Requests of one operation, for wrk: OPERATION FILE SALT. The file has a task a line: flow, run and task.
-- They are made before the first is sent, so that the processor is left to the service; what must differ from request to
-- request is a number of fixed width, put in at its places.
local requests, count = {}, 0
local system_tags = '["runtime:dev","python_version:3.11.7","user:bench","metaflow_version:2.19.39"]'
local description = '"user_name":"bench","tags":["bench:1","team:ml"],"system_tags":' .. system_tags
local headers = { ["Content-Type"] = "application/json" }
local WIDTH = 8
local numbered

local function get(path) return wrk.format("GET", path) end

local function post(path, body)
  -- Content-Length is that of a body with its numbers put in.
  local filled = body:gsub("#", string.rep("0", WIDTH))
  local head = wrk.format("POST", path, headers, filled):sub(1, -#filled - 1)
  return head .. (body:gsub("#", "%%0" .. WIDTH .. "d"))
end

local function entries(number, entry)
  local list = {}
  for index = 1, number do list[index] = "{" .. description .. "," .. entry(index) .. "}" end
  return "[" .. table.concat(list, ",") .. "]"
end

local function make(operation, salt, flow, run, task)
  local base = "/flows/" .. flow
  local step = base .. "/runs/" .. run .. "/steps/work"
  local task = step .. "/tasks/" .. task
  if operation == "ping" then return get("/ping")
  elseif operation == "create_run" then return post(base .. "/run", "{" .. description .. "}")
  elseif operation == "create_task" then return post(step .. "/task", "{" .. description .. "}")
  elseif operation == "artifacts5" then
    return post(task .. "/artifact", entries(5, function(index)
      return '"attempt_id":0,"name":"a' .. salt .. '_#_' .. index .. '","content_type":"pickle-v4","type":"metaflow.artifact",'
        .. '"sha":"194108c8f41294e0338aaf3e15c9ec9614b94fad","ds_type":"local","location":":root:/data/metaflow/.metaflow"'
    end))
  elseif operation == "metadata10" then
    return post(task .. "/metadata", entries(10, function(index)
      return '"field_name":"field_' .. index .. '","type":"field_' .. index .. '","value":"some value #"'
    end))
  elseif operation == "heartbeat" then return post(task .. "/heartbeat", "{}")
  elseif operation == "get_run" then return get(base .. "/runs/" .. run)
  elseif operation == "get_task" then return get(task)
  elseif operation == "get_artifact" then return get(task .. "/artifacts/art_1")
  elseif operation == "get_metadata" then return get(task .. "/metadata?_limit=10")
  elseif operation == "tasks_page" then return get(step .. "/tasks?_limit=500")
  elseif operation == "list_tasks" then return get(step .. "/tasks")
  elseif operation == "step_artifacts" then return get(step .. "/artifacts")
  end
end

function init(arguments)
  local operation, salt = arguments[1], arguments[3]
  numbered = operation == "artifacts5" or operation == "metadata10"
  for line in io.lines(arguments[2]) do
    requests[#requests + 1] = make(operation, salt, line:match("(%S+) (%S+) (%S+)"))
  end
end

function request()
  count = count + 1
  local text, c = requests[count % #requests + 1], count
  -- As often as it stands in any of them; what is left over is ignored.
  return numbered and text:format(c, c, c, c, c, c, c, c, c, c) or text
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('JSON{"requests":%d,"seconds":%.3f,"p50_ms":%.3f,"p99_ms":%.3f,"errors":%d}\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
