import Foundation
import SwanHTTP
import SwanSystem

/// The files of the web page, read from the module's resources once.
enum WebPage {
    private static let types = [
        "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml",
        "png": "image/png", "ico": "image/x-icon", "webmanifest": "application/manifest+json",
    ]

    /// The files by their paths; `/` is the page.
    static func files() throws -> StaticFiles {
        guard let folder = Bundle.module.resourceURL?.appendingPathComponent("web") else {
            throw SwanError(.noSuchFile, "the web page is missing from this installation")
        }
        var files: [String: StaticFiles.File] = [:]
        for name in Folder.names(in: folder.path) {
            let url = folder.appendingPathComponent(name)
            guard let type = types[url.pathExtension] else { continue }
            let file = StaticFiles.File(try Data(contentsOf: url), type: type)
            files["/" + name] = file
            if name == "index.html" { files["/"] = file }
            if name == "jobs.html" { files["/jobs"] = file }
        }
        guard files["/"] != nil else {
            throw SwanError(.noSuchFile, "the web page is missing from this installation")
        }
        return StaticFiles(files)
    }
}
