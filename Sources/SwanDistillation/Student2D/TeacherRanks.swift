import SwanDistributed
import SwanSystem
import Torch

/// Where a teacher is, and which ranks it computes for.
enum TeacherPlace: Sendable {
    /// Each process has its own.
    case own(Device)
    /// Each rank of a group has a part of it.
    case divided(ProcessGroup)
    /// The first rank of a group has it, and computes for all; tensors go over the CPU.
    case first(ProcessGroup, Device)

    /// The place of a strategy; all ranks call this together.
    ///
    /// - Parameter device: The device of this process.
    init(
        _ strategy: StudentSettings.Strategy?,
        on device: Device,
        _ world: World?
    ) throws(SwanError) {
        var strategy = strategy
        if strategy == .auto { strategy = try Engine.gpuCount() > 1 ? .balanced : .cpu }
        let all = world.map { Array(0..<$0.size) } ?? []
        switch strategy {
        case .cpu: self = .own(.cpu)
        case .balanced:
            let group = try world?.makeGroup(all)
            self = group.map { .divided($0) } ?? .own(device)
        case .gpu0:
            let group = try world?.makeGroup(all, on: .cpu)
            self = group.map { .first($0, device) } ?? .own(device)
        case .auto, nil: self = .own(device)
        }
    }

    /// Whether this process has (a part of) the teacher.
    var hasTeacher: Bool {
        guard case .first(let group, _) = self else { return true }
        return group.rank == 0
    }

    /// The device of the teacher.
    var device: Device {
        switch self {
        case .own(let device): device
        case .divided(let group): group.device
        case .first(_, let device): device
        }
    }

    /// The ranks that share weights; nil if there are none.
    var shards: ProcessGroup? {
        guard case .divided(let group) = self else { return nil }
        return group
    }
}

/// A teacher that several ranks ask, each for the rows of its own micro-batch.
///
/// All ranks ask the same number of times.
struct SharedTeacher: Sendable {
    private let place: TeacherPlace
    /// Nil on ranks that have none.
    private let teacher: PictureTeacher?

    init(_ teacher: PictureTeacher?, _ place: TeacherPlace) {
        (self.teacher, self.place) = (teacher, place)
    }

    /// The flow of this rank's rows; for the parameters see `PictureTeacher.flow`.
    func flow(_ latents: Tensor, _ timesteps: [Double], text: Tensor) throws -> Tensor {
        switch place {
        case .own: return try require().flow(latents, timesteps, text: text)
        case .divided(let group):
            let teacher = try require()
            // Ranks run the same transformers, because each needs the parts of all.
            let wanted = Set(timesteps.map(teacher.part(at:)))
            let flags = try Tensor(
                teacher.parts.map { wanted.contains($0) ? Float(1) : 0 },
                [teacher.parts.count]
            ).to(group.device)
            try group.reduce(flags, .max)
            let agreed = try zip(teacher.parts, flags.to(.cpu).array(of: Float.self))
                .filter { $0.1 > 0 }.map(\.0)
            return try teacher.flow(latents, timesteps, text: text, running: agreed)
        case .first(let group, _):
            return try FlowRequest(latents, timesteps, text).answered(over: group, by: teacher)
        }
    }

    private func require() throws(SwanError) -> PictureTeacher {
        guard let teacher else {
            throw SwanError(.invalidArgument, "this process has no teacher")
        }
        return teacher
    }
}

/// What a rank asks the first one's teacher.
private struct FlowRequest {
    let latents: Tensor
    let timesteps: [Double]
    let text: Tensor

    init(_ latents: Tensor, _ timesteps: [Double], _ text: Tensor) {
        (self.latents, self.timesteps, self.text) = (latents, timesteps, text)
    }

    /// Sends the requests of all ranks to the first one, and its answers back.
    func answered(over group: ProcessGroup, by teacher: PictureTeacher?) throws -> Tensor {
        let sizes = try Tensor.zeros([2 * group.size], .int64)
        try group.startGather(Tensor([timesteps.count, text.size(1)], [2]), into: sizes).wait()
        let all = try sizes.array(of: Int.self)
        let counts = (0..<group.size).map { (rows: all[2 * $0], tokens: all[2 * $0 + 1]) }
        let rows = counts.map(\.rows).max() ?? 0
        let tokens = counts.map(\.tokens).max() ?? 0
        let missing = rows - timesteps.count
        let x = try latents.to(.cpu, .float32).padded([0, 0, 0, 0, 0, 0, 0, missing])
        let t = try Tensor(timesteps + Array(repeating: 0, count: missing), [rows])
        let words = try text.to(.cpu, .float32)
            .padded([0, 0, 0, tokens - text.size(1), 0, missing])
        let (allX, allT, allWords) = try (
            Self.gathered(x, group), Self.gathered(t, group), Self.gathered(words, group)
        )
        let answers = try Tensor.zeros(allX.shape)
        if let teacher {
            var parts: [Tensor] = []
            for (rank, count) in counts.enumerated() {
                let flow = try teacher.flow(
                    allX.narrowed(0, rank * rows, count.rows),
                    allT.narrowed(0, rank * rows, count.rows).array(of: Double.self),
                    text: allWords.narrowed(0, rank * rows, count.rows)
                        .narrowed(1, 0, count.tokens).contiguous()
                )
                parts.append(try flow.padded([0, 0, 0, 0, 0, 0, 0, rows - count.rows]))
            }
            var whole = answers
            try whole.copy(from: concatenated(parts))
        }
        try group.broadcast(answers, from: 0)
        return try answers.narrowed(0, group.rank * rows, timesteps.count).to(latents.device)
    }

    /// The tensors of all ranks, of the same shape, one after the other.
    private static func gathered(
        _ part: Tensor,
        _ group: ProcessGroup
    ) throws(SwanError) -> Tensor {
        var shape = part.shape
        shape[0] *= group.size
        let whole = try Tensor.zeros(shape, part.dtype)
        try group.startGather(part.contiguous(), into: whole).wait()
        return whole
    }
}
