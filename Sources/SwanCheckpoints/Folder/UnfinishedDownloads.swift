import Foundation

/// The files that programs leave in a folder while they download into it.
enum UnfinishedDownloads {
    private static let endings = [".incomplete", ".part", ".aria2", ".crdownload", ".download"]
    /// Where `hf download --local-dir` keeps what is not complete.
    private static let hubFolder = ".cache/huggingface/download"
    private static let mostFiles = 10_000

    /// The paths of unfinished downloads in a model's folder, sorted.
    static func files(under folder: String) -> [String] {
        var found: [String] = []
        for place in [folder, folder + "/" + hubFolder] {
            guard let files = FileManager.default.enumerator(atPath: place) else { continue }
            var seen = 0
            for case let name as String in files {
                seen += 1
                guard seen <= mostFiles else { break }
                let isHidden = name.split(separator: "/").contains { $0.hasPrefix(".") }
                guard !isHidden, endings.contains(where: name.hasSuffix) else { continue }
                found.append("\(place)/\(name)")
            }
        }
        return found.sorted()
    }
}
