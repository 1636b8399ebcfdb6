import Foundation
package import SwanSystem

/// Videos with a caption each.
package struct CaptionedVideos: Sendable {
    /// A video.
    package struct Video: Sendable, Equatable {
        /// The path of the file.
        package let path: String
        /// What it shows.
        package let caption: String
    }

    /// The videos, in the order of their paths.
    package let videos: [Video]

    private static let suffixes: Set = ["mp4", "mov", "mkv", "webm", "avi", "m4v", "y4m"]

    /// Reads captions.
    ///
    /// - Parameter source: A JSON file, `{"clip.mp4": "a fox", …}` with paths relative to it, or a
    ///   folder with a text file of the same name beside each video.
    package init(_ source: String) throws(SwanError) {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: source, isDirectory: &isFolder) else {
            throw SwanError(.noSuchFile, "\(source): does not exist")
        }
        videos = try isFolder.boolValue ? Self.inFolder(source) : Self.inJSON(source)
        guard !videos.isEmpty else { throw SwanError(.empty, "\(source): names no videos") }
        for video in videos where !FileManager.default.fileExists(atPath: video.path) {
            throw SwanError(.noSuchFile, "\(source): names \(video.path), which does not exist")
        }
    }

    private static func inFolder(_ folder: String) throws(SwanError) -> [Video] {
        var videos: [Video] = []
        for name in Folder.names(in: folder).sorted() {
            let url = URL(fileURLWithPath: "\(folder)/\(name)")
            guard suffixes.contains(url.pathExtension.lowercased()) else { continue }
            let text = url.deletingPathExtension().appendingPathExtension("txt").path
            guard FileManager.default.fileExists(atPath: text) else {
                throw SwanError(
                    .noSuchFile,
                    "\(folder)/\(name): has no caption: write it to \(text)"
                )
            }
            videos.append(Video(path: "\(folder)/\(name)", caption: try caption(text)))
        }
        return videos
    }

    private static func caption(_ path: String) throws(SwanError) -> String {
        let text = try SmallFile.text(path).trimmingCharacters(in: .whitespacesAndNewlines)
        guard !text.isEmpty else { throw SwanError(.empty, "\(path): the caption is empty") }
        return text
    }

    private static func inJSON(_ path: String) throws(SwanError) -> [Video] {
        let captions: [String: String]
        do {
            captions = try JSONDecoder().decode(
                [String: String].self,
                from: SmallFile.data(path, atMost: 1 << 30)
            )
        } catch let error as SwanError {
            throw error
        } catch {
            throw SwanError(
                .invalidFile,
                "\(path): is not JSON of the form {\"clip.mp4\": \"caption\"}",
                cause: error
            )
        }
        let folder = Folder.path(of: path)
        return captions.sorted { $0.key < $1.key }.map { name, caption in
            Video(path: name.hasPrefix("/") ? name : "\(folder)/\(name)", caption: caption)
        }
    }
}
