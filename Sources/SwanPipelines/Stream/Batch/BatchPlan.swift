import SwanMedia
package import SwanSystem

/// What the inputs and the output of a stream mean together.
package enum BatchPlan: Sendable, Equatable {
    /// A file of a batch, and what becomes of it.
    package struct Job: Sendable, Equatable {
        /// The input's path, or the pattern of its pictures.
        package var input: String
        /// The output's path.
        package var output: String

        /// A request with the settings of another one, for this job's input and output.
        package func request(like other: FileStreamRequest) -> FileStreamRequest {
            var request = other
            (request.input, request.output) = (input, output)
            return request
        }
    }

    /// One video: of a file, of text alone, or of pictures that were named one by one.
    case single(input: String?, pictures: [String], output: String)
    /// Several videos or pictures, with an output each.
    case several([Job])

    /// Decides by names and by what exists.
    ///
    /// A folder or a pattern stands for the videos in it. Several pictures whose output is no folder are
    /// one video.
    ///
    /// - Throws: `invalidRequest` if several inputs have an output that is no folder.
    package init(
        inputs: [String],
        output: String,
        format: String? = nil
    ) throws(SwanError) {
        let isFolder = Self.isFolder(output)
        let sources = inputs.map { name in
            Source(name: name, files: Self.videos(name, besidesPictures: isFolder))
        }
        let names = sources.flatMap { $0.files ?? [$0.name] }
        let isSearched = sources.contains { $0.files != nil }
        guard names.count > 1 || (isSearched && isFolder) else {
            let input = names.first
            let named = try input.map { input throws(SwanError) in
                try Self.output(for: input, output, format)
            }
            self = .single(input: input, pictures: [], output: named ?? output)
            return
        }
        for name in names {
            let isLive = try MediaLocation(name).isLive
            guard name == "-" || isLive else { continue }
            throw SwanError(
                .invalidRequest,
                "\(name == "-" ? "standard input" : name): is one of several inputs; stream it alone"
            )
        }
        if !isFolder, names.allSatisfy(Self.isPictureFile) {
            let pictures =
                names == names.sorted() ? names.sorted(by: PictureSequence.isBefore) : names
            self = .single(input: pictures[0], pictures: pictures, output: output)
            return
        }
        guard isFolder else {
            throw SwanError(
                .invalidRequest,
                """
                \(output): is one output for \(names.count) inputs; name a folder, such as \
                -o \(Self.suggestion(output))
                """
            )
        }
        self = .several(try Self.jobs(names, in: output, format))
    }

    private struct Source {
        let name: String
        /// The videos that the name stands for; nil if it stands for itself.
        let files: [String]?
    }

    // MARK: - Inputs

    /// The endings of videos that a folder is searched for.
    private static let endings: Set<String> = [
        "mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "vob", "wmv",
        "asf", "flv", "ogv", "3gp", "3g2", "mxf", "dv", "y4m", "gif", "apng",
    ]

    /// The videos that a folder or a pattern stands for; nil if there are none, or for a file's name.
    ///
    /// - Parameter besidesPictures: Whether videos count that are beside pictures.
    private static func videos(_ name: String, besidesPictures: Bool) -> [String]? {
        var found: [String] = []
        if let identity = FileIdentity(name) {
            guard identity.isFolder else { return nil }
            let before = name.hasSuffix("/") ? name : name + "/"
            found = Folder.names(in: name).filter { !$0.hasPrefix(".") }
                .sorted(by: PictureSequence.isBefore).map { before + $0 }
        } else if PictureSequence.hasWildcards(name) {
            found = PictureSequence.matches(name)
        }
        guard besidesPictures || !found.contains(where: PictureSequence.isPicture) else {
            return nil
        }
        let videos = found.filter { endings.contains(Folder.ending(of: $0)) }
        return videos.isEmpty ? nil : videos
    }

    private static func isPictureFile(_ name: String) -> Bool {
        PictureSequence.isPicture(name) && FileIdentity(name)?.isFolder == false
    }

    // MARK: - Outputs

    /// Whether an output is a folder: it exists as one, ends in a slash, or is new and has no ending.
    private static func isFolder(_ output: String) -> Bool {
        if output.hasSuffix("/") { return true }
        if let identity = FileIdentity(output) { return identity.isFolder }
        return output != "-" && !output.isEmpty && Folder.ending(of: output).isEmpty
    }

    private static func suggestion(_ output: String) -> String {
        let ending = Folder.ending(of: output)
        return output == "-" || ending.isEmpty ? "out/" : "\(output.dropLast(ending.count + 1))/"
    }

    /// The output of a single input: a name in an existing folder, as `cp` would choose it.
    private static func output(
        for input: String,
        _ output: String,
        _ format: String?
    ) throws(SwanError) -> String {
        // A folder that ends in a slash takes numbered pictures, unless the format is a video's.
        let holdsPictures = try format.map { format throws(SwanError) in
            try OutputNames.isPicture(format: format)
        }
        let isTarget =
            output.hasSuffix("/")
            ? holdsPictures == false : FileIdentity(output)?.isFolder == true
        guard isTarget, input != "-", try !MediaLocation(input).isLive else { return output }
        return try jobs([input], in: output, format)[0].output
    }

    private static func jobs(
        _ names: [String],
        in folder: String,
        _ format: String?
    ) throws(SwanError) -> [Job] {
        let before = folder.hasSuffix("/") ? folder : folder + "/"
        var taken: Set<String> = []
        var jobs: [Job] = []
        for name in names {
            let (stem, ending) = try parts(name, format)
            var (candidate, number) = ("\(stem).\(ending)", 2)
            // Some file systems take large and small letters for the same.
            while !taken.insert(candidate.lowercased()).inserted {
                candidate = "\(stem)-\(number).\(ending)"
                number += 1
            }
            jobs.append(Job(input: name, output: before + candidate))
        }
        return jobs
    }

    /// The name of an input's output and its ending.
    private static func parts(
        _ input: String,
        _ format: String?
    ) throws(SwanError) -> (stem: String, ending: String) {
        if let identity = FileIdentity(input), !identity.isFolder {
            let ending = Folder.ending(of: input)
            let name = Folder.name(of: input)
            let stem = ending.isEmpty ? name : name.dropLast(ending.count + 1)
            return (String(stem), try OutputNames.ending(for: input, format: format))
        }
        // A folder of pictures, a pattern, or a file that is missing, which its job reports.
        let isFolder = FileIdentity(input)?.isFolder == true
        let isPattern = input.contains("%") || PictureSequence.hasWildcards(input)
        let folder = isFolder ? Folder.path(input) : Folder.path(of: input)
        let name = isFolder || isPattern ? Folder.name(of: folder) : Folder.name(of: input)
        let ending = Folder.ending(of: String(name))
        let stem = isFolder || isPattern || ending.isEmpty ? name : name.dropLast(ending.count + 1)
        let isNameless = [".", "..", "", "/"].contains(stem)
        return (isNameless ? "pictures" : String(stem), format ?? "mp4")
    }
}
