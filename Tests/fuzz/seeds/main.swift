import Foundation
import ModelSupport
import SwanMedia

/// Writes the seeds of the mutation fuzzer: a small valid model of every kind, a recipe, a clip and an
/// image; or, for the media fuzzer, a clip in every container.
///
///     fuzz-seeds FOLDER
///     fuzz-seeds --media FOLDER
let arguments = CommandLine.arguments.dropFirst()
let folder = URL(fileURLWithPath: arguments.last ?? "seeds")

/// A generating model, and its layout.
let generating: [(RandomCheckpoint.Model, RandomCheckpoint.Layout)] = [
    (.textToVideo, .original), (.textToVideo, .comfyUI), (.imageToVideo, .diffusers),
    (.firstLastFrameToVideo, .original), (.textToVideoExperts, .diffusers),
    (.textOrImageToVideo, .diffusers), (.controlToVideo, .original),
]

func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

/// Five frames of increasing brightness.
func write(clip name: String) throws {
    let (width, height) = (48, 32)
    guard let rate = Rational(25) else { return }
    let writer = try VideoWriter(path: path(name), width: width, height: height, frameRate: rate)
    for index in 0..<5 {
        let pixels = (0..<(3 * width * height)).map { UInt8(($0 / 3 + 8 * index) % 256) }
        try writer.append(VideoFrame(width: width, height: height, pixels: pixels))
    }
    try writer.finish()
}

func writePicture() throws {
    let pixels = (0..<(3 * 48 * 32)).map { UInt8($0 / 3 % 256) }
    try writePNG(VideoFrame(width: 48, height: 32, pixels: pixels), path("picture.png"))
}

try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
try writePicture()
try write(clip: "clip.mp4")
if arguments.first == "--media" {
    for ending in ["mkv", "mov", "y4m"] { try write(clip: "clip.\(ending)") }
} else {
    try TinyModel.write(to: path("stream"))
    for (model, layout) in generating {
        _ = try RandomCheckpoint(
            model,
            layout,
            at: path("\(model.rawValue)-\(layout.rawValue)")
        )
    }
    try Data(TinyTraining.recipe.utf8).write(to: URL(fileURLWithPath: path("recipe.yaml")))
}
