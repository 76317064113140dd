using System.Globalization;

namespace CarServer.State.Engine.Schemas;

/// <summary>A JSON number as it is spelled, compared exactly: no digit is lost, and no exponent is too large.</summary>
/// <remarks>Its value is 0 or ±0.d₁d₂…dₙ·10^<see cref="Magnitude"/>, where neither the first nor the last digit is 0.</remarks>
internal readonly ref struct JsonNumber
{
    /// <summary>Beyond it all exponents are one; their numbers then compare by their digits.</summary>
    private const long MostExponent = 1L << 40;

    private readonly ReadOnlySpan<byte> _whole;
    private readonly ReadOnlySpan<byte> _fraction;
    private readonly int _first;
    private readonly int _end;

    /// <param name="text">A number by the grammar of JSON.</param>
    public JsonNumber(ReadOnlySpan<byte> text)
    {
        IsNegative = text[0] == (byte)'-';
        if (IsNegative) text = text[1..];
        long exponent = 0;
        int e = text.IndexOfAny((byte)'e', (byte)'E');
        if (e >= 0)
        {
            exponent = Exponent(text[(e + 1)..]);
            text = text[..e];
        }
        int point = text.IndexOf((byte)'.');
        _whole = point < 0 ? text : text[..point];
        _fraction = point < 0 ? default : text[(point + 1)..];
        _end = _whole.Length + _fraction.Length;
        while (_first < _end && At(_first) == 0) _first++;
        while (_end > _first && At(_end - 1) == 0) _end--;
        Magnitude = IsZero ? 0 : exponent + _whole.Length - _first;
        if (IsZero) IsNegative = false;
    }

    public bool IsNegative { get; }
    public bool IsZero => _first == _end;
    public int Digits => _end - _first;
    public long Magnitude { get; }

    /// <summary>1.0 and 1e2 are whole numbers.</summary>
    public bool IsInteger => IsZero || Magnitude >= Digits;

    /// <summary>A digit, counted from 0.</summary>
    public int Digit(int i) => At(_first + i);

    public static int Compare(JsonNumber left, JsonNumber right)
    {
        if (left.IsNegative != right.IsNegative) return left.IsNegative ? -1 : 1;
        int size = CompareSizes(left, right);
        return left.IsNegative ? -size : size;
    }

    /// <summary>Whether this is a whole multiple of a number above 0 with at most <see cref="SchemaLimits.MaxDivisorDigits"/> digits.</summary>
    public bool IsMultipleOf(JsonNumber divisor)
    {
        if (IsZero) return true;
        // Both as whole numbers times a power of ten. The last digit of ours is not 0, so no power of ten above ours divides it.
        long shift = Magnitude - Digits - (divisor.Magnitude - divisor.Digits);
        if (shift < 0) return false;
        UInt128 modulus = 0, rest = 0;
        for (int i = 0; i < divisor.Digits; i++) modulus = modulus * 10 + (uint)divisor.Digit(i);
        for (int i = 0; i < Digits; i++) rest = (rest * 10 + (uint)Digit(i)) % modulus;
        for (UInt128 power = 10 % modulus; shift > 0; shift >>= 1, power = power * power % modulus)
        {
            if ((shift & 1) != 0) rest = rest * power % modulus;
        }
        return rest == 0;
    }

    private int At(int i) => (i < _whole.Length ? _whole[i] : _fraction[i - _whole.Length]) - '0';

    private static int CompareSizes(JsonNumber left, JsonNumber right)
    {
        if (left.IsZero || right.IsZero) return (left.IsZero ? 0 : 1) - (right.IsZero ? 0 : 1);
        if (left.Magnitude != right.Magnitude) return left.Magnitude.CompareTo(right.Magnitude);
        int common = Math.Min(left.Digits, right.Digits);
        for (int i = 0; i < common; i++)
        {
            if (left.Digit(i) != right.Digit(i)) return left.Digit(i).CompareTo(right.Digit(i));
        }
        return left.Digits.CompareTo(right.Digits);
    }

    private static long Exponent(ReadOnlySpan<byte> text)
    {
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long exponent))
            return Math.Clamp(exponent, -MostExponent, MostExponent);
        return text[0] == (byte)'-' ? -MostExponent : MostExponent;
    }
}
