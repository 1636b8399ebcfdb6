import SwanMedia
import SwanPipelines

// Restyles a video frame by frame: StreamFrames IN.mp4 OUT.mp4 "a prompt"
let arguments = CommandLine.arguments
guard arguments.count == 4 else { fatalError("usage: StreamFrames IN.mp4 OUT.mp4 PROMPT") }

let reader = try VideoReader(path: arguments[1])
let model = try StreamModel.load("tiny", dtype: .float32, device: .cpu)
var options = StreamOptions(model.configuration)
options.setSize(for: FrameShape(reader.info), multiple: model.sizeMultiple)
let stream = try VideoStream(model, prompt: arguments[3], options: options)
let writer = try VideoWriter(
    path: arguments[2],
    width: options.width,
    height: options.height,
    frameRate: reader.info.frameRate
)

// Frames may come from anywhere: here they are read from a file.
let source = AsyncThrowingStream { try reader.nextFrame() }
for try await frame in stream.frames(from: source) {
    try writer.append(frame)
}
try writer.finish()
print("\(stream.framesOut) frames")
