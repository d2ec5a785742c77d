-- Requests of one operation, for wrk: OPERATION FILE SALT ADDRESS... The file has an object a line: flow, run, step and task.
-- A thread for each address. All requests are made before the first is sent, so that the processor is left to the service;
-- what must differ from request to request is a number of fixed width, put in at its places.
local requests, count = {}, 0
local system_tags = '["runtime:dev","python_version:3.11.7","user:bench","metaflow_version:2.19.39"]'
local description = '"user_name":"bench","tags":["bench:1","team:ml"],"system_tags":' .. system_tags
local headers = { ["Content-Type"] = "application/json" }
local NUMBER = "########"
local threads = {}
local numbered, once

-- Content-Length is right already: NUMBER is as wide as what takes its place.
local function send(method, path, body) return (wrk.format(method, path, headers, body):gsub(NUMBER, "%%08d")) end
local function post(path, body) return send("POST", path, body) end
local function get(path) return wrk.format("GET", path) end

local function entries(number, entry)
  local list = {}
  for index = 1, number do list[index] = "{" .. description .. "," .. entry(index) .. "}" end
  return "[" .. table.concat(list, ",") .. "]"
end

local function artifact(salt)
  return function(index)
    return '"attempt_id":0,"name":"a' .. salt .. "_" .. NUMBER .. "_" .. index .. '","content_type":"pickle-v4",'
      .. '"type":"metaflow.artifact","sha":"194108c8f41294e0338aaf3e15c9ec9614b94fad","ds_type":"local",'
      .. '"location":":root:/data/metaflow/.metaflow"'
  end
end

local function metadata(index)
  return '"field_name":"field_' .. index .. '","type":"field_' .. index .. '","value":"some value ' .. NUMBER .. '"'
end

local function tags(add, remove) return '{"tags_to_add":["' .. add .. '"],"tags_to_remove":["' .. remove .. '"]}' end

-- The requests of one object; most operations have one.
local function make(operation, salt, flow, run, step, task)
  local flow = "/flows/" .. flow
  local run = flow .. "/runs/" .. run
  local steps = run .. "/steps/"
  local step = steps .. step
  local task = step .. "/tasks/" .. task
  local described = "{" .. description .. "}"
  if operation == "ping" then return get("/ping")
  elseif operation == "create_flow" then return post("/flows/Made" .. salt .. "_" .. NUMBER, described)
  elseif operation == "create_run" then return post(flow .. "/run", described)
  elseif operation == "create_step" then return post(steps .. "s" .. salt .. "_" .. NUMBER .. "/step", described)
  elseif operation == "create_task" then return post(step .. "/task", described)
  elseif operation == "artifacts5" then return post(task .. "/artifact", entries(5, artifact(salt)))
  elseif operation == "metadata10" then return post(task .. "/metadata", entries(10, metadata))
  elseif operation == "heartbeat" then return post(task .. "/heartbeat", "{}")
  elseif operation == "mutate_tags" then
    -- Each changes what the one before left.
    return send("PATCH", run .. "/tag/mutate", tags("odd", "even")), send("PATCH", run .. "/tag/mutate", tags("even", "odd"))
  elseif operation == "get_run" then return get(run)
  elseif operation == "get_task" then return get(task)
  elseif operation == "get_artifact" then return get(task .. "/artifacts/art_1")
  elseif operation == "list_tasks" then return get(step .. "/tasks")
  elseif operation == "list_artifacts" then return get(step .. "/artifacts")
  end
  error("unknown operation " .. operation)
end

-- Runs once for each thread, before init, but not in the thread.
function setup(thread)
  threads[#threads + 1] = thread
  thread:set("number", #threads)
end

function init(arguments)
  local operation, salt, addresses = arguments[1], arguments[3] .. number, #arguments - 3
  local host, port = arguments[3 + number]:match("(.+):(%d+)")
  wrk.thread.addr = wrk.lookup(host, port)[1]
  numbered = operation == "artifacts5" or operation == "metadata10" or operation == "create_flow" or operation == "create_step"
  once = operation == "heartbeat"
  local index = 0
  for line in io.lines(arguments[2]) do
    index = index + 1
    -- A heart that was beaten in the last ten seconds is not beaten again: threads beat different ones.
    if not once or index % addresses == number - 1 then
      for _, made in ipairs({ make(operation, salt, line:match("(%S+) (%S+) (%S+) (%S+)")) }) do
        requests[#requests + 1] = made
      end
    end
  end
end

local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds, microseconds; } daybook_time; int gettimeofday(daybook_time *, void *);")
local time, began = ffi.new("daybook_time"), nil

local function now()
  ffi.C.gettimeofday(time, nil)
  return tonumber(time.seconds) + tonumber(time.microseconds) / 1e6
end

function request()
  began = began or now()
  count = count + 1
  if once and count > #requests and not elapsed then
    elapsed = now() - began
    wrk.thread:stop()
  end
  local text, c = requests[count % #requests + 1], count
  -- As often as it stands in any of them; what is left over is ignored.
  return numbered and text:format(c, c, c, c, c, c, c, c, c, c) or text
end

function done(summary, latency)
  local errors, seconds = summary.errors, 0
  for _, thread in ipairs(threads) do seconds = math.max(seconds, thread:get("elapsed") or summary.duration / 1e6) end
  io.write(string.format('JSON{"requests":%d,"seconds":%.3f,"mean_ms":%.3f,"p50_ms":%.3f,"p99_ms":%.3f,"errors":%d}\n', summary.requests,
    seconds, latency.mean / 1e3, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
